from __future__ import annotations

import msgspec

from retrain.sweep import record
from tests.support import sweeps


def test_a_sweep_is_read_as_it_was_written() -> None:
    found = sweeps.usual()
    assert msgspec.json.decode(record.to_json(found), type=record.Sweep) == found


def test_what_was_not_carried_out_is_left() -> None:
    # 3 criteria, 2 amounts, 2 seeds, of which one combination is missing.
    found = sweeps.usual()
    assert found.left == 0
    assert msgspec.structs.replace(found, outcomes=found.outcomes[1:]).left == 1


def test_a_combination_has_a_name_for_people() -> None:
    named = record.Combination(criterion="taylor", amount=0.07, seed=3)
    assert named.words == "taylor 7% seed 3"


def test_times_are_found_by_the_size_of_the_batch() -> None:
    assert sweeps.measured(0.5, 0.9).speed(record.BATCH).same.gain == 3.0
