"""What every criterion holds to, on a real network: a new file in the package joins for free."""

from __future__ import annotations

import functools
from typing import NamedTuple

import pytest
import torch
from torch import nn

from coppice import errors
from retrain.pruning import blocks, criteria, evidence, groups, jobs, units
from retrain.pruning.criteria import base
from tests.support import architectures

NET = architectures.ARCHITECTURES["residual-cnn"]
LAYERS = blocks.find(NET.model(), jobs.example(NET.data().train)).group
"""The two blocks that keep their shape."""


def holding(field: str) -> list[str]:
    found = {name: criteria.load(name) for name in criteria.names()}
    return [name for name, criterion in found.items() if getattr(criterion, field) is not None]


def scoring(level: str) -> list[str]:
    return [name for name in holding("score") if level in criteria.load(name).levels]


SCORED = [
    *(pytest.param(name, "neuron", id=f"{name}-neuron") for name in scoring("neuron")),
    *(pytest.param(name, "layer", id=f"{name}-layer") for name in scoring("layer")),
]
WEIGHED, PENALISED, ALLOTTED = (holding(field) for field in ("weigh", "penalty", "allocate"))


@functools.cache
def coupled(level: str = "neuron") -> tuple[groups.CoupledGroup, ...]:
    neurons = units.couple(NET.model(), NET.data().train).groups
    return (LAYERS,) if level == "layer" else neurons


def gathered(model: nn.Module | None = None, seed: int = 0) -> base.Evidence:
    split = NET.data().train
    return evidence.gather(model or NET.model(), split, task=NET.task, seed=seed)


def scores(
    name: str,
    level: str,
    found: base.Evidence | None = None,
    given: tuple[groups.CoupledGroup, ...] | None = None,
) -> list[torch.Tensor]:
    score = criteria.load(name).score
    assert score is not None
    return score(coupled(level) if given is None else given, found or gathered())


def as_lists(found: list[torch.Tensor]) -> list[list[float]]:
    return [score.tolist() for score in found]


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_there_is_one_score_per_unit_of_each_group(name: str, level: str) -> None:
    found = scores(name, level)
    assert [tuple(score.shape) for score in found] == [(g.units,) for g in coupled(level)]
    assert {score.dtype for score in found} == {torch.float64}


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scores_are_finite_and_not_negative(name: str, level: str) -> None:
    found = torch.cat(scores(name, level))
    assert torch.isfinite(found).all()
    assert (found >= 0).all()


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scores_tell_units_apart(name: str, level: str) -> None:
    assert all(score.std() > 0 for score in scores(name, level))


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_the_same_evidence_gives_the_same_scores(name: str, level: str) -> None:
    assert as_lists(scores(name, level)) == as_lists(scores(name, level))


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scores_do_not_depend_on_the_order_of_the_groups(name: str, level: str) -> None:
    backward = scores(name, level, given=coupled(level)[::-1])
    assert as_lists(scores(name, level)) == as_lists(backward[::-1])


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scores_need_no_gradients(name: str, level: str) -> None:
    assert not any(score.requires_grad for score in scores(name, level))


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scoring_changes_nothing_of_the_model(name: str, level: str) -> None:
    model = NET.model()
    before = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    scores(name, level, gathered(model))
    assert all(torch.equal(before[path], tensor) for path, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_scoring_leaves_the_global_generator_alone(name: str, level: str) -> None:
    found = gathered()
    state = torch.random.get_rng_state()
    scores(name, level, found)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_no_groups_give_no_scores(name: str, level: str) -> None:
    assert scores(name, level, given=()) == []


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_weights_of_zero_give_finite_scores(name: str, level: str) -> None:
    model = NET.model()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    found = torch.cat(scores(name, level, gathered(model)))
    assert torch.isfinite(found).all()
    assert (found >= 0).all()


@pytest.mark.parametrize(("name", "level"), SCORED)
def test_frozen_parameters_are_scored_too(name: str, level: str) -> None:
    frozen = NET.model().requires_grad_(requires_grad=False)
    assert as_lists(scores(name, level, gathered(frozen))) == as_lists(scores(name, level))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


class Outcome(NamedTuple):
    whole: bool
    scores: torch.Tensor
    refusal: str = ""


def scored_or_refused(name: str, net: architectures.Architecture) -> Outcome:
    model, split = net.model(), net.data().train
    units.prepare(model, split)
    given = units.couple(model, split).groups
    found = evidence.gather(model, split, task=net.task, seed=0)
    try:
        each = scores(name, "neuron", found, given)
    except errors.PruningError as refusal:
        return Outcome(whole=False, scores=torch.zeros(0), refusal=str(refusal))
    whole = [len(score) for score in each] == [group.units for group in given]
    return Outcome(whole=whole, scores=torch.cat(each))


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
@pytest.mark.parametrize("name", scoring("neuron"))
def test_every_kind_of_network_is_scored_or_refused_with_the_reason(
    name: str, architecture: str
) -> None:
    found = scored_or_refused(name, architectures.ARCHITECTURES[architecture])
    assert found.whole or len(found.refusal) > 40
    assert torch.isfinite(found.scores).all()


NAMES = ("head.weight", "blocks.0.first.weight", "blocks.1.shortcut.weight")


def weights(name: str, paths: tuple[str, ...] = NAMES) -> dict[str, torch.Tensor]:
    weigh = criteria.load(name).weigh
    assert weigh is not None
    return weigh(paths, gathered())


@pytest.mark.parametrize("name", WEIGHED)
def test_there_is_one_score_per_weight_of_each_tensor(name: str) -> None:
    parameters = dict(NET.model().named_parameters())
    shapes = {path: tuple(score.shape) for path, score in weights(name).items()}
    assert shapes == {path: tuple(parameters[path].shape) for path in NAMES}


@pytest.mark.parametrize("name", WEIGHED)
def test_scores_of_weights_are_finite_not_negative_and_differ(name: str) -> None:
    found = torch.cat([score.flatten() for score in weights(name).values()])
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert found.std() > 0
    assert not found.requires_grad


@pytest.mark.parametrize("name", WEIGHED)
def test_a_weight_s_score_does_not_hang_on_the_other_tensors(name: str) -> None:
    alone, among = weights(name, NAMES[:1])[NAMES[0]], weights(name, NAMES[::-1])[NAMES[0]]
    assert torch.equal(alone, among)


def penalty(name: str, model: nn.Module, strength: float = 1e-2) -> torch.Tensor:
    build = criteria.load(name).penalty
    assert build is not None
    return build(coupled(), model, strength)(model)


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalty_is_a_positive_number_with_gradients(name: str) -> None:
    value = penalty(name, NET.model())
    assert value.shape == ()
    assert value.item() > 0
    assert value.requires_grad


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalty_grows_in_proportion_to_its_strength(name: str) -> None:
    model = NET.model()
    single, triple = penalty(name, model, 1e-3).item(), penalty(name, model, 3e-3).item()
    assert triple == pytest.approx(3.0 * single, rel=1e-5)


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalty_s_gradients_are_finite_at_weights_of_zero(name: str) -> None:
    model = NET.model()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    penalty(name, model).backward()  # type: ignore[no-untyped-call]
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert found
    assert all(torch.isfinite(gradient).all() for gradient in found)


def shares(name: str, amount: float) -> list[float]:
    allocate = criteria.load(name).allocate
    assert allocate is not None
    return allocate(coupled(), gathered(), amount)


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("name", ALLOTTED)
def test_the_shares_remove_the_amount_of_all_units(name: str, amount: float) -> None:
    found = shares(name, amount)
    assert len(found) == len(coupled())
    assert all(0 <= share < 1 for share in found)
    gone = sum(
        share * group.units * group.width for share, group in zip(found, coupled(), strict=True)
    )
    whole = sum(group.units * group.width for group in coupled())
    assert gone / whole == pytest.approx(amount, abs=0.01)


@pytest.mark.parametrize("name", ALLOTTED)
def test_a_larger_amount_takes_no_less_of_any_group(name: str) -> None:
    mild, strong = shares(name, 0.3), shares(name, 0.6)
    assert all(less <= more + 1e-6 for less, more in zip(mild, strong, strict=True))
