from __future__ import annotations

import pytest
import torch
from torch import nn

from retrain.pruning import bags, neurons
from tests.support import recommenders


def test_a_channel_of_a_bag_is_a_column_of_its_table_and_what_reads_it() -> None:
    bag = recommenders.NETWORKS["bag"]
    coupling = neurons.trace(bag.model(), bag.rows(2))
    found = {group.name: group for group in coupling.groups}["table"]
    assert {(axis.path, axis.dim) for axis in found.axes} == {
        ("table.weight", 1),
        ("table.embedding_dim", None),
        ("head.0.weight", 1),
        ("head.0.in_features", None),
    }


@pytest.mark.parametrize(("last", "offsets"), [(False, None), (False, [0, 2]), (True, [0, 2, 6])])
def test_a_stand_in_gives_a_row_for_each_bag(*, last: bool, offsets: list[int] | None) -> None:
    real = nn.EmbeddingBag(9, 4, include_last_offset=last)
    indices = torch.arange(6) if offsets else torch.arange(6).reshape(2, 3)
    starts = torch.tensor(offsets) if offsets else None
    assert bags.Bag(real)(indices, starts).shape == real(indices, starts).shape == (2, 4)
