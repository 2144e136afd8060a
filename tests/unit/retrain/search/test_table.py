from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from retrain import store
from retrain.search import gauge, subject, terms
from tests.support import searching


def costs(folder: Path, target: terms.Target, structures: int = 9) -> dict[str, gauge.Cost]:
    on = terms.Terms(target=target)
    found = searching.search(folder, terms=on, structures=structures)
    return {str(sorted(entry.widths.items())): entry.cost for entry in found.entries}


class Counted(NamedTuple):
    """What structures cost in multiply-accumulates, and the folder that remembers it."""

    folder: Path
    costs: dict[str, gauge.Cost]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Counted:
    folder = tmp_path_factory.mktemp("counted")
    return Counted(folder, costs(folder, "macs"))


def test_multiply_accumulates_are_counted(counted: Counted) -> None:
    found = counted.costs
    # 8 and 8 units: 4*8 + 8*8 + 8*2 = 112 of 672, which is 6 times less.
    narrow = found["[('0', 8), ('3', 8)]"]
    assert (narrow.dense, narrow.pruned, narrow.gain) == (672.0, 112.0, 6.0)
    assert (narrow.low, narrow.high) == (6.0, 6.0)


def test_latency_is_a_ratio_with_an_interval_in_turns_with_the_dense_graph(tmp_path: Path) -> None:
    for cost in costs(tmp_path, "latency", structures=3).values():
        assert cost.low <= cost.gain <= cost.high
        assert cost.pruned > 0.0


def test_size_is_that_of_the_graph(tmp_path: Path) -> None:
    narrow = costs(tmp_path, "size")["[('0', 8), ('3', 8)]"]
    # The weights alone: dense 672 + 32 + 16 + 2 + norms, pruned 112 + 8 + 8 + 2 + norms, 4 bytes.
    assert narrow.dense - narrow.pruned > 4 * (672 - 112)


def test_a_damaged_entry_is_measured_again_and_the_others_are_not(counted: Counted) -> None:
    entries = sorted((counted.folder / ".coppice" / "latency").rglob("*.json"))
    kept = {path: path.stat().st_mtime_ns for path in entries[1:]}
    entries[0].write_bytes(entries[0].read_bytes()[:-20])
    assert costs(counted.folder, "macs") == counted.costs
    assert len(entries[0].read_bytes()) > 20
    assert {path: path.stat().st_mtime_ns for path in entries[1:]} == kept


def test_a_latency_depends_on_the_machine_and_a_count_does_not() -> None:
    timed, counted = terms.Terms(target="latency").key(), terms.Terms(target="macs").key()
    assert timed["processor"] == terms.processor() != ""
    assert "runtime" in timed
    assert "processor" not in counted


@pytest.mark.parametrize("field", ["batch", "threads"])
def test_other_terms_are_another_entry(field: str) -> None:
    assert terms.Terms(**{field: 1}).key() != terms.Terms(**{field: 2}).key()


def test_one_thread_is_timed_by_the_processor_and_several_by_the_wall() -> None:
    assert terms.Terms(threads=1).clock == "cpu"
    assert terms.Terms(threads=2).clock == "wall"


def test_a_structure_is_told_by_its_shapes_and_its_source_and_not_by_its_weights() -> None:
    first, second = searching.build_model(), searching.build_model()
    assert subject.digest(first) != subject.digest(second)
    assert subject.structure_digest(first, "a") == subject.structure_digest(second, "a")
    assert subject.structure_digest(first, "a") != subject.structure_digest(first, "b")


def test_the_source_of_a_model_is_its_file_and_what_it_takes() -> None:
    few, more = searching.split(4), searching.split(8)
    assert subject.source_digest(searching.build_model, few) == subject.source_digest(
        searching.build_model, more
    )
    assert subject.source_digest(store.Store, few) != subject.source_digest(
        searching.build_model, few
    )
