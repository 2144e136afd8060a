from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from coppice import settings
from retrain import packing
from retrain.evaluate import latency, paired

SAME = paired.Comparison(
    rows=300, drop=0.0, low=-0.01, high=0.01, disagreement=0.0, new_errors=0.0, fixed=0.0
)


def took(gain: float, low: float) -> dict[str, latency.Latency]:
    made = latency.Latency(
        parent_seconds=gain, candidate_seconds=1.0, gain=gain, low=low, high=gain + 1.0
    )
    return {"1": made}


PLAIN = packing.Tried(engine="onnxruntime", precision="fp32", times=took(1.0, 1.0))
INT8 = packing.Tried(
    engine="onnxruntime", precision="int8", quality=SAME, times=took(gain=2.0, low=1.5)
)
BF16 = packing.Tried(
    engine="openvino", precision="bf16", quality=SAME, times=took(gain=3.0, low=1.2)
)


def judged(*others: packing.Tried, **section: object) -> dict[str, tuple[bool, str]]:
    section_ = settings.PackSettings.model_validate({"precision": "int8", **section})
    found = packing.judge([PLAIN, *others], section_)
    return {way.name: (way.taken, way.reason) for way in found}


def changed(way: packing.Tried, **fields: object) -> packing.Tried:
    return msgspec.structs.replace(way, **fields)


class TestJudge:
    def test_what_is_as_good_and_surely_faster_is_taken(self) -> None:
        assert judged(INT8) == {
            "onnxruntime fp32": (False, "onnxruntime int8 is as good and faster"),
            "onnxruntime int8": (
                True,
                (
                    "it is 2.00 times as fast at batch 1 (between 1.50 and 3.00), and it loses "
                    "0.00 points of score on 300 rows (between -1.00 and 1.00), and differs on "
                    "0.00%"
                ),
            ),
        }

    def test_the_faster_of_two_that_hold_is_taken(self) -> None:
        found = judged(INT8, BF16)
        assert found["openvino bf16"][0]
        assert found["onnxruntime int8"] == (False, "openvino bf16 gains more")

    def test_a_gain_that_is_not_sure_is_not_taken(self) -> None:
        # The lower end counts: 3.00 times as fast, but maybe only 1.09.
        found = judged(changed(BF16, times=took(gain=3.0, low=1.09)))
        assert found["onnxruntime fp32"] == (True, "nothing else holds")
        assert found["openvino bf16"][1].endswith("not surely 1.10 times")

    @pytest.mark.parametrize(
        ("drop", "taken"), [(0.002, "onnxruntime int8"), (0.0021, "onnxruntime fp32")]
    )
    def test_a_loss_of_score_above_the_limit_is_not_taken(self, drop: float, taken: str) -> None:
        quality = msgspec.structs.replace(SAME, drop=drop, disagreement=0.01)
        assert judged(changed(INT8, quality=quality))[taken][0]

    def test_what_loses_score_needs_no_race_to_be_refused(self) -> None:
        quality = msgspec.structs.replace(SAME, drop=0.05, disagreement=0.06)
        found = judged(changed(INT8, quality=quality, times={}))
        assert found["onnxruntime int8"] == (
            False,
            (
                "it loses 5.00 points of score on 300 rows (between -1.00 and 1.00), and differs "
                "on 6.00%, more than 0.20 points"
            ),
        )

    def test_what_could_not_be_tried_keeps_its_reason(self) -> None:
        failed = packing.Tried(engine="onnxruntime", precision="int8", reason="nothing to quantize")
        assert judged(failed)["onnxruntime int8"] == (False, "nothing to quantize")

    def test_alone_the_first_is_taken(self) -> None:
        assert judged() == {"onnxruntime fp32": (True, "nothing else was asked for")}

    def test_the_declared_batch_decides(self) -> None:
        slow_alone = INT8.times | {"1": took(0.5, 0.4)["1"], "8": took(4.0, 3.0)["1"]}
        way = changed(INT8, times=slow_alone)
        assert not judged(way)["onnxruntime int8"][0]
        assert judged(way, batch_rows=8)["onnxruntime int8"][0]


def test_the_graph_goes_with_what_runs_the_way_that_is_taken() -> None:
    tried = (PLAIN, changed(BF16, taken=True))
    found = packing.Packing(asked="auto", rows=300, batch_rows=1, tried=tried)
    assert found.packed(Path("model.onnx")) == (Path("model.onnx"), "openvino", "bf16")


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"precision": "bf16"}, "bf16 needs OpenVINO"),
        ({"engines": []}, "engines must name at least one"),
        ({"engines": ["openvino", "openvino"]}, "each once"),
        ({"engines": ["tensorrt"]}, "Input should be 'onnxruntime' or 'openvino'"),
    ],
)
def test_settings_that_cannot_be_carried_out_are_refused(
    section: dict[str, object], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        settings.PackSettings.model_validate(section)
