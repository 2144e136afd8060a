from __future__ import annotations

import math

import pytest
import torch

from retrain import network, train
from retrain.pruning import groups, units
from retrain.pruning.criteria import group_lasso, magnitude
from tests.support import networks, ranking


def test_units_are_ranked_by_the_norm_of_their_coupled_weights() -> None:
    given = ranking.evidence(ranking.linears(a=ranking.A, b=ranking.B))
    found, norms = group_lasso.score(ranking.TWO, given), magnitude.score(ranking.TWO, given)
    assert torch.equal(torch.cat(found), torch.cat(norms))


def test_the_penalty_is_the_sum_of_root_size_times_norm() -> None:
    model = ranking.linears(a=ranking.A, b=ranking.B)
    value = group_lasso.penalty(ranking.TWO, model, 1.0)(model).item()
    # Group a: units of 2 + 2 weights with squares 1 + 1, 25 + 1, 0.5 + 5.
    first = math.sqrt(4) * (math.sqrt(2) + math.sqrt(26) + math.sqrt(5.5))
    # Group b: units of 3 weights with squares 0 + 1 + 4 and 1 + 0 + 1.
    second = math.sqrt(3) * (math.sqrt(5) + math.sqrt(2))
    assert value == pytest.approx(first + second, rel=1e-5)


def test_the_penalty_pulls_each_unit_along_its_own_direction() -> None:
    model = ranking.linears(a=((3.0, 4.0), (0.3, 0.4)))
    alone = groups.CoupledGroup("a", 2, (groups.Axis("a.weight", 0, (0, 1)),))
    group_lasso.penalty([alone], model, 1.0)(model).backward()  # type: ignore[no-untyped-call]
    # sqrt(2) times the unit vector, whatever the length: that is what sends small ones to zero.
    pull = torch.tensor([0.6, 0.8]) * math.sqrt(2)
    assert torch.allclose(model.a.weight.grad, pull.expand(2, 2), rtol=1e-4)


def test_a_unit_of_zeros_is_not_pulled() -> None:
    model = ranking.linears(a=((0.0, 0.0), (3.0, 4.0)))
    alone = groups.CoupledGroup("a", 2, (groups.Axis("a.weight", 0, (0, 1)),))
    group_lasso.penalty([alone], model, 1.0)(model).backward()  # type: ignore[no-untyped-call]
    assert model.a.weight.grad[0].tolist() == [0.0, 0.0]


def test_what_nobody_owns_and_biases_are_left_alone() -> None:
    model = ranking.linears(a=((3.0, 4.0), (5.0, 5.0)))
    model.a.bias.data.fill_(9.0)
    axes = (groups.Axis("a.weight", 0, (0, groups.NOBODY)), groups.Axis("a.bias", 0, (0, 0)))
    value = group_lasso.penalty([groups.CoupledGroup("a", 1, axes)], model, 1.0)(model)
    # Two weights of norm 5.
    assert value.item() == pytest.approx(math.sqrt(2) * 5.0, rel=1e-5)


def test_the_order_of_units_does_not_matter() -> None:
    model = ranking.linears(a=ranking.A)
    straight, turned = (
        groups.CoupledGroup("a", 3, (groups.Axis("a.weight", 0, owners),))
        for owners in ((0, 1, 2), (2, 0, 1))
    )
    first, second = (group_lasso.penalty([g], model, 1.0)(model) for g in (straight, turned))
    assert first.item() == pytest.approx(second.item(), rel=1e-6)


def test_training_with_the_penalty_shrinks_the_norms_and_tells_units_apart() -> None:
    rows = networks.vectors()
    plain, sparse = (network.build(networks.mlp, seed=0) for _ in "ab")
    coupled = units.couple(plain, rows).groups
    penalty = group_lasso.penalty(coupled, sparse, 1e-2)
    train.fit(plain, rows, train.FitPlan(task="binary", epochs=5, batch_size=16))
    history = train.fit(
        sparse, rows, train.FitPlan(task="binary", epochs=5, batch_size=16, penalty=penalty)
    )
    assert float(penalty(sparse).detach()) < 0.95 * float(penalty(plain).detach())
    assert history.losses[-1] < history.losses[0]
    before, after = (group_lasso.score(coupled, ranking.evidence(m)) for m in (plain, sparse))
    assert torch.cat(after).std() > torch.cat(before).std()
