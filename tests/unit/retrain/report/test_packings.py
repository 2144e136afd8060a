from __future__ import annotations

from retrain import packing
from retrain.evaluate import latency, paired
from retrain.report import packings

TWICE = latency.Latency(parent_seconds=0.2, candidate_seconds=0.1, gain=2.004, low=1.8, high=2.2)
LOST = paired.Comparison(
    rows=300, drop=0.01, low=0.0, high=0.02, disagreement=0.0123, new_errors=0.01, fixed=0.0
)
PLAIN = packing.Tried(
    engine="onnxruntime", precision="fp32", bytes=4000, taken=True, reason="nothing else holds"
)
INT8 = packing.Tried(
    engine="onnxruntime",
    precision="int8",
    bytes=1000,
    quality=LOST,
    times={"1": TWICE, "32": TWICE},
    reason="it loses too much",
)
BROKEN = packing.Tried(engine="openvino", precision="int8", reason="it cannot be loaded")


def packed(*tried: packing.Tried) -> packing.Packing:
    return packing.Packing(asked="auto", rows=300, batch_rows=1, tried=tried)


def test_what_serves_comes_first_and_the_others_say_why_not() -> None:
    assert list(packings.sentences(packed(PLAIN, INT8, BROKEN))) == [
        "served by onnxruntime fp32: nothing else holds",
        "not by onnxruntime int8: it loses too much",
        "not by openvino int8: it cannot be loaded",
    ]


def test_where_nothing_else_was_tried_there_is_nothing_to_say() -> None:
    assert list(packings.sentences(packed(PLAIN))) == []
    assert list(packings.sentences(None)) == []


def test_the_table_has_a_row_for_each_way_and_a_column_for_each_batch() -> None:
    found = packings.table(packed(PLAIN, INT8, BROKEN))
    gains = ("times as fast, batch 1", "times as fast, batch 32")
    assert found.columns == (
        "way",
        "taken",
        "bytes",
        *gains,
        "points lost",
        "differ, %",
        "why",
    )
    assert found.rows[0] == (
        "onnxruntime fp32",
        "yes",
        4000,
        *(None, None, None, None),
        "nothing else holds",
    )
    assert found.rows[1][:7] == ("onnxruntime int8", "no", 1000, 2.0, 2.0, 1.0, 1.23)
    assert found.rows[2][2:] == (*(None,) * 5, "it cannot be loaded")
    assert "300 validation rows; times are of the processor" in found.title
