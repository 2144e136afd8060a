from __future__ import annotations

import dataclasses

import torch

from retrain.pruning import groups, jobs, recipe, surgery, units
from retrain.pruning.criteria import base, importance, importance_sampled
from tests.support import architectures, ranking

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


def weighed(seed: int) -> float:
    """Return what a layer sums up of two kept units of three that it read as 1, 2 and 5."""
    scores = importance_sampled.score([GROUP], given(seed))[0]
    kept = groups.choose(GROUP, scores, 2)
    factors = importance_sampled.compensate(GROUP, scores, kept, seed)
    return float((factors * torch.tensor([1.0, 2.0, 5.0]))[list(kept)].sum())


def test_what_stays_is_weighed_so_that_sums_are_right_in_the_mean() -> None:
    sums = torch.tensor([weighed(seed) for seed in range(400)])
    # Of 1 + 2 + 5: a single sum is off by about 2.6, the mean of 400 by 0.13; without weights, two
    # of three would sum up to 6.5 or so.
    assert abs(float(sums.mean()) - 8.0) < 0.4


def test_where_nothing_went_nothing_is_weighed() -> None:
    scores = importance_sampled.score([GROUP], given(0))[0]
    found = importance_sampled.compensate(GROUP, scores, (0, 1, 2), 0)
    assert found.tolist() == [1.0, 1.0, 1.0]


def test_every_block_is_weighed_by_its_own_draw() -> None:
    two = groups.CoupledGroup("a", 4, (), blocks=2)
    scores = torch.tensor([4.0, 1.0, 1.0, 1e-6], dtype=torch.float64)
    first, second = importance_sampled.compensate(two, scores, (0, 2), 0)[[0, 2]].tolist()
    # In the second block next to nothing went.
    assert first > 1.0
    assert second == 1.0


def test_the_layers_that_read_what_stays_are_weighed() -> None:
    net = architectures.ARCHITECTURES["mlp"]
    split, model = net.data().train, net.model()
    step = recipe.Step(criterion="importance-sampled", amount=0.5)
    job = jobs.Job(split=split, step=step, due=1.0, before={}, task=net.task, seed=0)
    record = units.cut(model, job)
    same = surgery.replay(net.model(), record)
    ratio = model.get_parameter("5.weight") / same.get_parameter("5.weight")
    # One factor for each column, a unit of the layer before, and none for the first layer.
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-4)
    assert float(ratio.detach().min()) >= 1.0
    assert float(ratio.detach().max()) > 1.2
    assert torch.equal(model.get_parameter("0.weight"), same.get_parameter("0.weight"))
