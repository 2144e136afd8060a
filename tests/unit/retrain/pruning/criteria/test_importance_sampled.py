from __future__ import annotations

import dataclasses

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base, importance, importance_sampled
from tests.support import ranking

GROUP = groups.CoupledGroup("a", 3, (groups.Axis("b.weight", 1, (0, 1, 2)),))


def given(seed: int, weights: tuple[float, ...] = (1.0, 2.0, 5.0)) -> base.Evidence:
    model = ranking.linears(b=(weights,))
    return ranking.evidence(model, activations=[{"b": torch.ones(1, 3)}], seed=seed)


def winners(weights: tuple[float, ...], seeds: range) -> list[int]:
    found = [importance_sampled.score([GROUP], given(seed, weights))[0] for seed in seeds]
    return torch.stack(found).argmax(dim=1).bincount(minlength=3).tolist()  # type: ignore[no-any-return]


def test_units_come_first_as_often_as_their_probability_says() -> None:
    # Probabilities 1/8, 1/4, 5/8 of 400 draws: 50, 100 and 250, each within 3 standard deviations
    # (of at most 10).
    first, second, third = winners((1.0, 2.0, 5.0), range(400))
    assert abs(first - 50) < 30
    assert abs(second - 100) < 30
    assert abs(third - 250) < 30


def test_a_unit_without_a_share_is_never_drawn() -> None:
    assert winners((1.0, 0.0, 1.0), range(50))[1] == 0


def test_another_name_draws_otherwise() -> None:
    other = dataclasses.replace(GROUP, name="other")
    first, second = importance_sampled.score([GROUP, other], given(0))
    assert first.tolist() != second.tolist()


def test_weights_are_drawn_too() -> None:
    first = importance_sampled.weigh(["b.weight"], given(0))["b.weight"]
    second = importance_sampled.weigh(["b.weight"], given(1))["b.weight"]
    assert first.tolist() != second.tolist()


def test_the_shares_of_groups_are_those_of_the_bound() -> None:
    assert importance_sampled.CRITERION.allocate is importance.allocate
