from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from coppice.labels import Floats
from retrain.evaluate import complexity
from tests.support import networks, subjects


def test_a_perceptron_is_counted() -> None:
    found = complexity.measure(networks.mlp().eval(), networks.vectors(64))
    # 6 x 32 + 32 x 24 + 24 x 2 products; as many weights, and 32 + 24 + 2 biases.
    assert found.macs == 6 * 32 + 32 * 24 + 24 * 2
    assert found.parameters == found.macs + 58
    assert (found.weighted_layers, found.width) == (3, 24)


def test_pruning_shows_in_every_count_but_the_depth() -> None:
    subject = subjects.scans()
    dense, pruned = (
        complexity.measure(subject.models[name], subject.data.holdout)
        for name in ("parent", "candidate")
    )
    assert pruned.parameters < dense.parameters
    assert pruned.macs < dense.macs
    assert pruned.width < dense.width
    assert pruned.weighted_layers == dense.weighted_layers == 3


def test_a_layer_that_is_never_called_does_not_count() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(6, 2), nn.Linear(6, 6)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.used(values)  # type: ignore[no-any-return]

    assert complexity.measure(Spare(), networks.vectors(8)).weighted_layers == 1


def test_a_layer_that_is_called_twice_counts_once() -> None:
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(6, 2))
    assert complexity.measure(model, networks.vectors(8)).weighted_layers == 2


def test_a_network_without_weighted_layers_has_no_embedding() -> None:
    class Total(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values.sum(dim=1, keepdim=True).repeat(1, 2)

    found = complexity.measure(Total(), networks.vectors(8))
    assert (found.weighted_layers, found.width, found.effective_rank) == (0, 0, 0.0)


def test_hooks_are_gone_afterwards() -> None:
    model = networks.mlp().eval()
    complexity.measure(model, networks.vectors(8))
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_rows_along_a_line_have_rank_one_and_constant_ones_none() -> None:
    direction = np.outer(np.arange(9.0), [1.0, 2.0, 3.0])
    assert complexity.effective_rank(direction) == pytest.approx(1.0, abs=1e-6)
    assert complexity.effective_rank(np.ones((5, 3))) == 0.0


def test_unequal_directions_count_by_the_entropy_of_their_lengths() -> None:
    # Lengths 3 and 1: shares 3/4 and 1/4, entropy 0.5623 nats.
    rows = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert complexity.effective_rank(rows) == pytest.approx(np.exp(0.562335), rel=1e-5)


@given(arrays.arrays(np.float64, (6, 4), elements=st.floats(-100, 100, width=16)))
def test_the_effective_rank_lies_between_none_and_all_directions(rows: Floats) -> None:
    found = complexity.effective_rank(rows)
    # Six rows less their mean span at most five directions, and there are four columns.
    assert 0.0 <= found <= 4.0 + 1e-9


@given(arrays.arrays(np.float64, (6, 4), elements=st.floats(-10, 10, width=16)))
def test_the_effective_rank_does_not_hang_on_scale_or_place(rows: Floats) -> None:
    moved = complexity.effective_rank(4.0 * rows + 1.0)
    assert moved == pytest.approx(complexity.effective_rank(rows), abs=1e-3)
