from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from retrain.pruning import groups
from retrain.pruning.criteria import base, block_influence


def given(reads: torch.Tensor, gives: torch.Tensor) -> base.Evidence:
    """Return evidence of one minibatch of a block `a`."""
    return base.Evidence(
        model=nn.Identity(),
        gradients=lambda: iter(()),
        activations=lambda _: iter([{"a": reads}]),
        loss_of=lambda _: 0.0,
        outputs=lambda _: iter([{"a": gives}]),
    )


def influence(reads: torch.Tensor, gives: torch.Tensor, leaves: groups.Leaves = "input") -> float:
    group = groups.CoupledGroup("layers", 1, (), modules=(groups.Block("a", leaves),))
    return float(block_influence.score([group], given(reads, gives))[0])


EAST, NORTH = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])


@pytest.mark.parametrize(
    ("gives", "turned"),
    [
        (EAST, 0.0),
        (7 * EAST, 0.0),  # longer, in the same direction
        (NORTH, 1.0),  # a right angle
        (-EAST, 2.0),
        (EAST + 3 / 2 * NORTH, 1 - math.cos(math.pi / 4)),  # [3, 3]
    ],
)
def test_a_block_scores_what_it_turns(gives: torch.Tensor, turned: float) -> None:
    assert influence(EAST, gives) == pytest.approx(turned, abs=1e-6)


def test_the_mean_is_over_all_tokens_of_all_rows() -> None:
    reads = torch.stack([EAST, EAST])  # two rows of one token
    gives = torch.stack([EAST, NORTH])
    assert influence(reads, gives) == pytest.approx(0.5)


def test_the_channels_of_an_image_come_second() -> None:
    reads = torch.zeros(1, 2, 3, 3)
    gives = torch.zeros(1, 2, 3, 3)
    reads[:, 0], gives[:, 1] = 1.0, 1.0  # at every pixel a right angle
    assert influence(reads, gives) == pytest.approx(1.0)


def test_of_an_added_branch_the_sum_counts() -> None:
    # [3, 0] + [0, 3] lies at 45 degrees, the branch itself at 90.
    turned = influence(EAST, 3 / 2 * NORTH, leaves="zeros")
    assert turned == pytest.approx(1 - math.cos(math.pi / 4))


def test_values_of_zero_turn_nothing_into_a_number() -> None:
    assert influence(torch.zeros(1, 2), torch.zeros(1, 2)) == 1.0


def test_minibatches_count_by_their_places() -> None:
    group = groups.CoupledGroup("layers", 1, (), modules=(groups.Block("a", "input"),))
    found = base.Evidence(
        model=nn.Identity(),
        gradients=lambda: iter(()),
        activations=lambda _: iter([{"a": EAST.expand(3, 2)}, {"a": EAST}]),
        loss_of=lambda _: 0.0,
        outputs=lambda _: iter([{"a": EAST.expand(3, 2)}, {"a": NORTH}]),
    )
    # Three places at 0 and one at 1.
    assert block_influence.score([group], found)[0].tolist() == [0.25]


def test_it_ranks_blocks_only() -> None:
    assert block_influence.CRITERION.levels == ("layer",)
    assert block_influence.CRITERION.weigh is None
