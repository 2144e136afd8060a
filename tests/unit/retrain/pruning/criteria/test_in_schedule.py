"""Every criterion in a schedule: what it trains before the cut, and how much goes by each scope."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from retrain.pruning import criteria, recipe, schedule, surgery
from tests.support import architectures

NET = architectures.ARCHITECTURES["residual-cnn"]
RANKS = [name for name in criteria.names() if "neuron" in criteria.load(name).levels]
ALLOTS = [name for name in RANKS if criteria.load(name).allocate is not None]


class Tuned:
    """Keeps what it is told to train, and trains nothing."""

    def __init__(self) -> None:
        self.penalties: list[bool] = []

    def __call__(self, model: nn.Module, epochs: int, **named: Any) -> None:
        del model, epochs
        self.penalties.append(named.get("penalty") is not None)


def prune(name: str, tune: schedule.Tune = schedule.untrained, **fields: Any) -> surgery.Surgery:
    plan = recipe.Recipe(criterion=name, align=1, **fields)
    return schedule.prune(NET.model(), NET.data().train, plan, task=NET.task, seed=0, tune=tune)


@pytest.mark.parametrize("name", RANKS)
def test_sparse_training_comes_first_for_criteria_with_a_penalty_only(name: str) -> None:
    tuned = Tuned()
    prune(name, tuned, sparse_epochs=1)
    assert tuned.penalties == [True] * (criteria.load(name).penalty is not None)


@pytest.mark.parametrize("name", RANKS)
def test_across_all_groups_the_amount_goes_and_no_group_is_emptied(name: str) -> None:
    found = prune(name, amount=0.5, scope="global").groups
    assert min(group.after for group in found) >= 1
    # Of 128 channels in five groups 64 go, but for one that has to stay in each.
    assert sum(group.before for group in found) == 128
    assert 64 <= sum(group.after for group in found) <= 68


@pytest.mark.parametrize("name", ALLOTS)
def test_as_the_criterion_allots_it_the_amount_goes_too(name: str) -> None:
    found = prune(name, amount=0.5, scope="criterion").groups
    # Each of five groups is rounded by at most half a channel.
    assert abs(sum(group.after for group in found) - 64) <= 3
    assert len({group.after / group.before for group in found}) > 1
