from __future__ import annotations

import copy

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coppice import labels
from retrain import network, train
from retrain.evaluate import attacks, domain, probing, section
from tests.support import subjects

PLAN = attacks.Descent(steps=5, seed=0)


def rows_of(subject: section.Subject, count: int = 128) -> attacks.Rows:
    split = subject.data.holdout.take(np.arange(count))
    task = subject.rules.task
    return attacks.Rows(
        tensors=network.to_tensors(split.inputs), targets=train.targets_of(split, task), task=task
    )


def land_of(subject: section.Subject, budget: float) -> dict[str, domain.Terrain]:
    return domain.stretched(domain.survey(subject.training), {"picture": budget, "table": budget})


def loss(model: nn.Module, rows: attacks.Rows) -> torch.Tensor:
    with torch.no_grad():
        answers = network.shaped(network.call(model, rows.tensors), rows.task)
    return probing.losses(answers, rows.targets, rows.task)


def right(model: nn.Module, rows: attacks.Rows) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model, rows.tensors).argmax(dim=1) == rows.targets


def straight_line(task: labels.Task = "regression") -> attacks.Rows:
    return attacks.Rows(
        tensors={"x": torch.tensor([[1.0, 2.0]])}, targets=torch.tensor([0.0]), task=task
    )


def line_land() -> dict[str, domain.Terrain]:
    free = torch.tensor([9.0, 9.0])
    return {
        "x": domain.Terrain(
            kind="table", low=-free, high=free, unit=torch.tensor([0.5, 0.0]), typical=free
        )
    }


def line() -> nn.Linear:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def test_one_step_goes_the_whole_budget_uphill() -> None:
    # The answer 1 + 2 = 3 lies above the target 0, so its error rises with x; column two is fixed.
    moved = attacks.fgsm(line(), straight_line(), line_land())
    assert moved.tensors["x"].tolist() == [[1.5, 2.0]]


def test_many_steps_reach_the_same_corner_of_a_straight_line() -> None:
    moved = attacks.pgd(line(), straight_line(), line_land(), PLAN)
    assert moved.tensors["x"].tolist() == [[1.5, 2.0]]


def test_a_regression_that_errs_nowhere_can_still_be_attacked() -> None:
    # At error 0 there is no direction, so a single step finds none; a random start does.
    rows = attacks.Rows(
        tensors={"x": torch.tensor([[1.0, 2.0]])}, targets=torch.tensor([3.0]), task="regression"
    )
    assert loss(line(), attacks.fgsm(line(), rows, line_land())).item() == 0.0
    assert loss(line(), attacks.pgd(line(), rows, line_land(), PLAN)).item() == 0.5


def test_the_climb_is_never_weaker_than_the_single_step() -> None:
    subject = subjects.scans()
    model, rows, land = subject.models["candidate"], rows_of(subject), land_of(subject, 0.05)
    once = right(model, attacks.fgsm(model, rows, land))
    often = right(model, attacks.pgd(model, rows, land, PLAN))
    assert not (often & ~once).any()
    assert often.sum() < right(model, rows).sum()


def test_a_larger_budget_keeps_what_a_smaller_one_found() -> None:
    subject = subjects.scans()
    model, rows = subject.models["candidate"], rows_of(subject)
    small = attacks.pgd(model, rows, land_of(subject, 0.03), PLAN)
    large = attacks.pgd(model, rows, land_of(subject, 0.06), PLAN, small)
    assert not (right(model, large) & ~right(model, small)).any()
    assert right(model, large).sum() < right(model, small).sum()


def test_no_value_moves_further_than_the_budget_or_out_of_what_training_has_seen() -> None:
    subject = subjects.scans()
    rows, land = rows_of(subject), land_of(subject, 0.05)
    moved = attacks.pgd(subject.models["parent"], rows, land, PLAN).tensors["pixels"]
    # Scans span 0 to 1, so 0.05 of the range is 0.05.
    assert (moved - rows.tensors["pixels"]).abs().max() <= 0.05 + 1e-6
    assert moved.min() >= 0.0
    assert moved.max() <= 1.0


def test_the_loss_of_a_regression_rises_on_every_row() -> None:
    subject = subjects.diabetes()
    model, rows = subject.models["parent"], rows_of(subject)
    moved = attacks.pgd(model, rows, land_of(subject, 0.2), PLAN)
    assert (loss(model, moved) >= loss(model, rows)).all()
    assert loss(model, moved).mean() > loss(model, rows).mean()


def test_the_same_seed_finds_the_same() -> None:
    subject = subjects.tumours()
    model, rows, land = subject.models["parent"], rows_of(subject), land_of(subject, 0.3)
    first = attacks.pgd(model, rows, land, PLAN).tensors["values"]
    assert torch.equal(first, attacks.pgd(model, rows, land, PLAN).tensors["values"])


def test_no_parameter_gets_a_gradient_and_no_row_is_changed() -> None:
    subject = subjects.scans()
    model, rows = copy.deepcopy(subject.models["parent"]), rows_of(subject, 16)
    before = rows.tensors["pixels"].clone()
    attacks.pgd(model, rows, land_of(subject, 0.05), PLAN)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(rows.tensors["pixels"], before)


def test_a_model_that_works_in_place_can_be_attacked() -> None:
    subject = subjects.tumours()
    model = nn.Sequential(nn.ReLU(inplace=True), subject.models["parent"])
    rows, land = rows_of(subject, 32), land_of(subject, 0.3)
    assert loss(model, attacks.fgsm(model, rows, land)).mean() > loss(model, rows).mean()


WEIGHTS = st.lists(st.floats(-3, 3).filter(lambda w: abs(w) > 1e-2), min_size=2, max_size=2)


@given(WEIGHTS, st.floats(-5, 5))
def test_no_attack_beats_the_single_step_on_a_straight_line(
    weights: list[float], target: float
) -> None:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
    rows = attacks.Rows(
        tensors={"x": torch.tensor([[1.0, 2.0]])},
        targets=torch.tensor([target]),
        task="regression",
    )
    land = {
        "x": domain.Terrain(
            kind="table",
            low=torch.tensor([-9.0, -9.0]),
            high=torch.tensor([9.0, 9.0]),
            unit=torch.tensor([0.1, 0.3]),
            typical=torch.zeros(2),
        )
    }
    error = abs(weights[0] + 2 * weights[1] - target)
    # Both corners lie as far away as the weights reach, in the direction of the error.
    reach = 0.1 * abs(weights[0]) + 0.3 * abs(weights[1])
    assert float(loss(model, attacks.fgsm(model, rows, land))) >= error - 1e-5
    assert float(loss(model, attacks.pgd(model, rows, land, PLAN))) <= error + reach + 1e-4


def test_rows_that_are_wrong_already_stay_wrong() -> None:
    subject = subjects.tumours()
    model, rows = subject.models["candidate"], rows_of(subject, 300)
    wrong = ~right(model, rows)
    assert wrong.any()
    assert not right(model, attacks.pgd(model, rows, land_of(subject, 0.2), PLAN))[wrong].any()


def test_no_budget_moves_nothing() -> None:
    subject = subjects.tumours()
    model, rows = subject.models["parent"], rows_of(subject, 20)
    moved = attacks.pgd(model, rows, land_of(subject, 0.0), PLAN)
    assert torch.equal(moved.tensors["values"], rows.tensors["values"])


def test_more_steps_find_no_less() -> None:
    subject = subjects.scans()
    model, rows, land = subject.models["parent"], rows_of(subject), land_of(subject, 0.08)
    few = right(model, attacks.pgd(model, rows, land, attacks.Descent(steps=1, seed=0)))
    many = right(model, attacks.pgd(model, rows, land, attacks.Descent(steps=20, seed=0)))
    assert many.sum() <= few.sum()
