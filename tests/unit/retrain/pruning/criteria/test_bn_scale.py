from __future__ import annotations

import pytest
import torch
from torch import nn

from coppice import errors
from retrain import train
from retrain.pruning import groups, units
from retrain.pruning.criteria import bn_scale
from tests.support import networks, ranking

COUPLED = groups.CoupledGroup(
    "a",
    3,
    (
        groups.Axis("a.weight", 0, (0, 1, 2)),
        groups.Axis("one.weight", 0, (0, 1, 2)),
        groups.Axis("two.weight", 0, (2, 1, 0)),
    ),
)
"""Channels that two norms scale, the second in the opposite order."""


def model(
    one: tuple[float, ...] = (-1.0, 0.5, 2.0), two: tuple[float, ...] = (4.0, 0.0, 3.0)
) -> nn.Module:
    made = nn.ModuleDict({"a": nn.Linear(2, 3), "one": nn.BatchNorm1d(3), "two": nn.BatchNorm1d(3)})
    made["one"].weight.data = torch.tensor(one)
    made["two"].weight.data = torch.tensor(two)
    return made


def test_a_score_is_the_mean_absolute_scale_over_the_unit_s_norms() -> None:
    found = bn_scale.score([COUPLED], ranking.evidence(model()))[0]
    # The means of 1 and 3, of 0.5 and 0, of 2 and 4.
    assert found.tolist() == [2.0, 0.25, 3.0]


def test_a_unit_of_scale_zero_scores_zero() -> None:
    found = bn_scale.score([COUPLED], ranking.evidence(model((0.0, 1.0, 1.0), (1.0, 1.0, 0.0))))
    assert found[0].tolist() == [0.0, 1.0, 1.0]


def test_a_unit_beside_the_norm_counts_as_passed_on_whole() -> None:
    partly = groups.CoupledGroup("a", 2, (groups.Axis("one.weight", 0, (0, -1, -1)),))
    assert bn_scale.score([partly], ranking.evidence(model()))[0].tolist() == [1.0, 1.0]


def test_the_penalty_is_the_strength_times_the_sum_of_absolute_scales() -> None:
    given = model()
    value = bn_scale.penalty([COUPLED], given, 1e-3)(given)
    # 1 + 0.5 + 2 and 4 + 0 + 3.
    assert value.item() == pytest.approx(1e-3 * bn_scale.FACTOR * 10.5)


def test_norms_that_no_group_owns_are_left_alone() -> None:
    given = model()
    alone = groups.CoupledGroup("a", 3, (groups.Axis("one.weight", 0, (0, 1, 2)),))
    bn_scale.penalty([alone], given, 1.0)(given).backward()  # type: ignore[no-untyped-call]
    assert given.one.weight.grad.tolist() == [-bn_scale.FACTOR, bn_scale.FACTOR, bn_scale.FACTOR]
    assert given.two.weight.grad is None


def test_groups_without_a_norm_are_named_in_the_refusal() -> None:
    with pytest.raises(
        errors.PruningError, match=r"none on the outputs of 'a', 'b'; use criterion"
    ):
        bn_scale.score(ranking.TWO, ranking.evidence(ranking.linears(a=ranking.A, b=ranking.B)))


def test_sparse_training_is_refused_before_it_starts() -> None:
    with pytest.raises(errors.PruningError, match="'a', 'b'"):
        bn_scale.penalty(ranking.TWO, ranking.linears(a=ranking.A, b=ranking.B), 1e-4)


def test_a_norm_without_scales_does_not_count() -> None:
    bare = nn.ModuleDict({"a": nn.Linear(2, 3), "one": nn.BatchNorm1d(3, affine=False)})
    alone = groups.CoupledGroup("a", 3, (groups.Axis("one.running_mean", 0, (0, 1, 2)),))
    with pytest.raises(errors.PruningError, match="'a'"):
        bn_scale.score([alone], ranking.evidence(bare))


def test_training_with_the_penalty_shrinks_the_scales() -> None:
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    coupled = units.couple(net, networks.vectors()).groups
    penalty = bn_scale.penalty(coupled, net, 1e-3)
    plan = train.FitPlan(
        task="binary", epochs=3, batch_size=16, learning_rate=1e-2, penalty=penalty
    )
    history = train.fit(net, networks.vectors(), plan)
    # 16 scales of 1, before.
    assert float(penalty(net).detach()) < 0.98 * 1e-3 * bn_scale.FACTOR * 16
    assert history.losses[-1] < history.losses[0]
