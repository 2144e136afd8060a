from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coppice import errors, runtime, settings
from retrain import onnx_export, packing
from retrain.evaluate import answers, latency, paired
from tests.support import packable

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


def exported(name: str, folder: Path) -> Path:
    model = packable.trained(name)
    onnx_export.export(model, packable.data().validation, folder / "model.onnx", task="multiclass")
    return folder / "model.onnx"


def wish(**section: object) -> packing.Wish:
    return packing.Wish(section=settings.PackSettings.model_validate(section), rules=packable.RULES)


def no_race(*_: object, **__: object) -> None:
    raise AssertionError("nothing was to be raced")


def test_by_default_the_exported_graph_serves_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing.timing, "workers", no_race)
    graph = exported("digits", tmp_path)
    before = graph.read_bytes()
    found = packing.choose(graph, packable.data(), wish())
    assert [way.name for way in found.tried] == ["onnxruntime fp32"]
    assert found.packed(graph) == (graph, "onnxruntime", "fp32")
    assert found.taken.bytes == len(before)
    assert graph.read_bytes() == before


def test_int8_is_taken_where_it_keeps_the_score_and_gains(tmp_path: Path) -> None:
    graph = exported("wide", tmp_path)
    plain = answers.of_graph(runtime.Packed(graph), packable.data().validation)
    size = graph.stat().st_size
    # One product of 768 x 768 takes nearly all of the time; int8 reads a quarter of the bytes.
    found = packing.choose(
        graph, packable.data(), wish(precision="int8", batch_rows=16, max_drop=0.01)
    )
    assert found.taken.name == "onnxruntime int8", found.tried
    assert found.taken.times["16"].low >= 1.1
    assert set(found.taken.times) == {"1", "16", "32"}
    # The graph that serves is the int8 one: a quarter of 4 x 646,666 bytes, and some nodes.
    assert graph.stat().st_size == found.taken.bytes
    assert graph.stat().st_size < 0.3 * size
    int8 = answers.of_graph(found.packed(graph), packable.data().validation)
    assert found.taken.quality is not None
    differs = (plain.argmax(axis=1) != int8.argmax(axis=1)).mean()
    assert found.taken.quality.disagreement == differs
    assert not np.array_equal(plain, int8)


def test_int8_is_refused_where_it_costs_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing.timing, "workers", no_race)
    graph = exported("skewed", tmp_path)
    before = graph.read_bytes()
    found = packing.choose(graph, packable.data(), wish(precision="int8"))
    plain, int8 = found.tried
    assert (plain.taken, int8.taken) == (True, False)
    # The giant takes all 255 steps, so the other values are zero: the net is left with guessing.
    assert int8.quality is not None
    assert int8.quality.drop > 0.3
    assert "more than 0.20 points" in int8.reason
    assert graph.read_bytes() == before


def test_int8_is_refused_where_it_does_not_gain(tmp_path: Path) -> None:
    graph = exported("wide", tmp_path)
    before = graph.read_bytes()
    found = packing.choose(
        graph, packable.data(), wish(precision="int8", min_gain=1000.0, max_drop=1.0)
    )
    assert found.taken.precision == "fp32"
    assert found.tried[1].reason.endswith("not surely 1000.00 times")
    assert graph.read_bytes() == before


def test_every_engine_and_precision_is_tried_and_keeps_the_score(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    graph = exported("wide", tmp_path)
    engines = ("onnxruntime", "openvino")
    found = packing.choose(
        graph, packable.data(), wish(precision="auto", engines=engines, max_drop=0.02)
    )
    assert [way.name for way in found.tried] == [
        "onnxruntime fp32",
        "openvino fp32",
        "openvino bf16",
        "onnxruntime int8",
        "openvino int8",
    ]
    assert sum(way.taken for way in found.tried) == 1
    distances = [way.quality.drop for way in found.tried if way.quality is not None]
    # One row of the 100 at most; full precision on another engine loses none.
    assert len(distances) == 4
    assert distances[0] == 0.0
    assert max(map(abs, distances)) <= 0.02
    assert all(set(way.times) == {"1", "32"} for way in found.tried)


@pytest.mark.parametrize(
    ("precision", "ways"),
    [
        ("fp32", ["openvino fp32", "onnxruntime fp32"]),
        ("bf16", ["openvino fp32", "onnxruntime fp32", "openvino bf16"]),
        (
            "int8",
            ["openvino fp32", "onnxruntime fp32", "openvino int8", "onnxruntime int8"],
        ),
    ],
)
def test_the_first_engine_named_is_the_one_to_beat(precision: str, ways: list[str]) -> None:
    section = wish(precision=precision, engines=("openvino", "onnxruntime")).section
    assert [way.name for way in packing._ways(section)] == ways


def test_an_engine_that_is_not_installed_is_no_reason_but_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = exported("digits", tmp_path)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(errors.EngineMissing, match=r"coppice\[openvino\]"):
        packing.choose(graph, packable.data(), wish(engines=("onnxruntime", "openvino")))


def test_a_graph_that_cannot_be_quantized_is_served_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise errors.ArtifactError("nothing to quantize")

    monkeypatch.setattr(packing.quantize, "quantize", refuse)
    found = packing.choose(exported("digits", tmp_path), packable.data(), wish(precision="int8"))
    assert [(way.taken, way.reason) for way in found.tried] == [
        (True, "nothing else holds"),
        (False, "nothing to quantize"),
    ]
    assert found.tried[1].bytes is None


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


def test_the_time_on_the_wall_counts_where_several_threads_run() -> None:
    assert wish().clock == "cpu"
    assert packing.Wish(section=wish().section, rules=packable.RULES, threads=2).clock == "wall"
