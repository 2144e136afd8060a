from __future__ import annotations

import numpy as np
import torch
from torch import nn

from retrain.pruning import surgery
from retrain.sweep import bench

FIRST = surgery.Selection(4, (0, 1))
LAST = surgery.Selection(4, (2, 3))


def pruned(selection: surgery.Selection, width: int = 2, removed: str = "") -> bench.Pruned:
    cut = surgery.Surgery(
        selections=(selection,),
        cuts=(surgery.Cut("weight", 0, 0),),
        groups=(surgery.GroupRecord("", 4, width),),
        removed=(surgery.Removed(removed),) if removed else (),
    )
    return bench.Pruned(model=nn.Linear(3, width), cut=cut, epochs=1)


def test_which_units_stay_does_not_make_another_structure() -> None:
    assert bench.structure(pruned(FIRST)) == bench.structure(pruned(LAST))


def test_how_many_stay_does() -> None:
    assert bench.structure(pruned(FIRST)) != bench.structure(pruned(FIRST, width=1))


def test_a_block_that_was_left_out_does() -> None:
    assert bench.structure(pruned(FIRST)) != bench.structure(pruned(FIRST, removed="blocks.1"))


def test_torch_is_timed_on_one_core_and_left_as_it_was() -> None:
    before = torch.get_num_threads()
    rows = {"x": np.zeros((4, 3), dtype=np.float32)}
    eager = bench.Eager(nn.Linear(3, 2).eval(), rows)
    found = eager.turn(4)
    assert found.seconds > 0
    assert found.cpu_seconds > 0
    assert torch.get_num_threads() == before
    assert eager.contestant.name == bench.EAGER
