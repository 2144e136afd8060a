from __future__ import annotations

from pathlib import Path

import pytest

from retrain.search import gauge, subject, terms
from tests.support import searching

PLAIN, INT8 = terms.Way(), terms.Way(precision="int8")


def measured(folder: Path, on: terms.Terms, place: int = 0) -> gauge.Cost:
    of = searching.subject_of(folder)
    kept = {group.name: 8 for group in of.grounds[place].coupled}
    with gauge.Gauge(of, on) as measuring:
        return measuring.measure(measuring.prepare(of.structure(subject.Shape(place, kept))))


def test_a_structure_without_blocks_is_measured_beside_the_dense_model(tmp_path: Path) -> None:
    found = measured(tmp_path, terms.Terms(target="macs"), place=2)
    # Dense 4*32 + 2 * 2*32*16 + 32*2 = 2240; without blocks and at 8 units 4*8 + 8*2 = 48.
    assert (found.dense, found.pruned, found.macs) == (2240.0, 48.0, 48)
    assert found.gain == pytest.approx(2240 / 48)


def test_every_way_to_serve_is_timed_and_the_fastest_counts(tmp_path: Path) -> None:
    # So small a network cannot gain from int8; asked for no gain at all, either may be taken.
    found = measured(tmp_path, terms.Terms(ways=(PLAIN, INT8), min_gain=0.0))
    assert found.way in {PLAIN.name, INT8.name}
    assert found.low <= found.gain <= found.high


def test_another_way_counts_only_where_it_gains_enough(tmp_path: Path) -> None:
    found = measured(tmp_path, terms.Terms(ways=(PLAIN, INT8), min_gain=100.0))
    assert found.way == "onnxruntime fp32"


def test_what_cannot_be_quantized_is_served_plainly(tmp_path: Path) -> None:
    # Without blocks there is one layer before the last, which is never quantized; cut off that,
    # nothing heavy is left.
    of = searching.subject_of(tmp_path, searching.build_flat)
    with gauge.Gauge(of, terms.Terms(ways=(PLAIN, INT8), min_gain=0.0)) as measuring:
        structure = of.structure(subject.Shape(1, {}))
        assert measuring.measure(measuring.prepare(structure)).way == "onnxruntime fp32"
