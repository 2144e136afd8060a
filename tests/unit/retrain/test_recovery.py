from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from coppice import settings
from retrain import network, recovery, train
from retrain.pruning import recipe
from tests.support import networks

SECTION = settings.TrainSettings(batch_size=32)
FAST: dict[str, Any] = {"criterion": "magnitude", "align": 4, "finetune_epochs": 2}


def course(how: recipe.Recipe, teacher: nn.Module | torch.Tensor | None = None) -> recovery.Course:
    rows = networks.vectors(96)
    return recovery.Course(
        recipe=how,
        task="multiclass",
        seed=3,
        section=SECTION,
        teacher=dense() if teacher is None else teacher,
        training=rows,
        recovery=rows,
    )


def dense() -> nn.Module:
    return network.build(networks.mlp, seed=0).eval()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_a_course_cuts_and_recovers_a_copy_of_the_teacher() -> None:
    teacher, model = dense(), dense()
    before = weights(teacher)
    asked = course(recipe.Recipe(**FAST), teacher)
    record = asked.prune(model)
    asked.recover(model)
    assert [group.after for group in record.groups] == [
        group.before // 2 for group in record.groups
    ]
    assert all(torch.equal(old, new) for old, new in zip(before, weights(teacher), strict=True))


def test_the_same_course_gives_the_same_weights() -> None:
    first, second = dense(), dense()
    for model in (first, second):
        asked = course(recipe.Recipe(**FAST))
        asked.prune(model)
        asked.recover(model)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_known_answers_teach_like_the_teacher() -> None:
    first, second = dense(), dense()
    by_model = course(recipe.Recipe(**FAST))
    by_answers = course(recipe.Recipe(**FAST), by_model.taught)
    by_model.recover(first)
    by_answers.recover(second)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_a_recipe_without_recovery_leaves_a_model_as_it_is() -> None:
    model = dense()
    before = weights(model)
    course(recipe.Recipe(**{**FAST, "finetune_epochs": 0})).recover(model)
    assert all(torch.equal(old, new) for old, new in zip(before, weights(model), strict=True))


@pytest.mark.parametrize(
    ("how", "epochs"),
    [
        ({}, 2),
        # Two cuts more, each with a pass before it.
        ({"schedule": "iterative", "rounds": 3}, 4),
        ({"schedule": "gradual", "rounds": 3, "round_epochs": 2}, 6),
        # One round between two cuts of each of two steps.
        ({"schedule": "iterative", "rounds": 2, "then": (recipe.Step(align=4),)}, 4),
        # A criterion that trains sparse first.
        ({"criterion": "l1", "sparse_epochs": 3}, 5),
    ],
)
def test_the_control_is_trained_for_as_long_as_the_pruned_model(
    how: dict[str, Any], epochs: int
) -> None:
    asked = course(recipe.Recipe(**{**FAST, **how}))
    during: list[float] = []
    after: list[float] = []
    control: list[float] = []
    model = dense()
    asked.prune(model, during.append)
    asked.recover(model, after.append)
    asked.control(dense(), control.append)
    assert asked.epochs == epochs
    assert len(during) + len(after) == epochs
    assert len(control) == epochs


def test_progress_rises_to_the_end() -> None:
    told: list[float] = []
    course(recipe.Recipe(**{**FAST, "finetune_epochs": 4})).recover(dense(), told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_the_control_keeps_every_channel() -> None:
    model = dense()
    shapes = [parameter.shape for parameter in model.parameters()]
    course(recipe.Recipe(**FAST)).control(model)
    assert [parameter.shape for parameter in model.parameters()] == shapes


def test_repeated_production_rows_make_for_fewer_passes() -> None:
    asked = course(recipe.Recipe(**{**FAST, "finetune_epochs": 4}))
    halved = dataclasses.replace(asked, passes=lambda epochs: max(1, epochs // 2))
    told: list[float] = []
    halved.recover(dense(), told.append)
    assert told == [0.5, 1.0]


def test_recovery_brings_accuracy_back() -> None:
    rows = networks.vectors(96)
    teacher = dense()
    train.fit(
        teacher,
        rows,
        train.FitPlan(task="multiclass", epochs=20, batch_size=16, learning_rate=1e-2),
    )
    model = copy.deepcopy(teacher)
    asked = recovery.Course(
        recipe=recipe.Recipe(criterion="random", amount=0.8, align=1, learning_rate=1e-2),
        task="multiclass",
        seed=0,
        section=SECTION,
        teacher=teacher,
        training=rows,
        recovery=rows,
    )
    asked.prune(model)
    raw = train.score(model, rows, "multiclass")
    asked.recover(model)
    assert train.score(model, rows, "multiclass") > raw


def told(how: recipe.Recipe) -> list[tuple[str, float]]:
    """What a course tells of its trainings before the last cut."""
    found: list[tuple[str, float]] = []
    asked = dataclasses.replace(course(how), part=lambda name, share: found.append((name, share)))
    asked.prune(dense())
    return found


def test_every_training_between_two_cuts_is_told_by_its_name() -> None:
    how = recipe.Recipe(**FAST, amount=0.5, schedule="iterative", rounds=3, round_epochs=2)
    assert told(how) == [
        ("round 2 of 3", 0.5),
        ("round 2 of 3", 1.0),
        ("round 3 of 3", 0.5),
        ("round 3 of 3", 1.0),
    ]


def test_a_chain_tells_which_level_it_is_at() -> None:
    later = recipe.Step(level="connection", criterion="magnitude", amount=0.5)
    how = recipe.Recipe(**FAST, amount=0.5, schedule="gradual", rounds=2, then=(later,))
    assert [name for name, _ in told(how)] == ["neuron 2 of 2", "connection 2 of 2"]


def test_sparse_training_has_its_name() -> None:
    how = recipe.Recipe(**{**FAST, "criterion": "l1"}, amount=0.5, sparse_epochs=1)
    assert told(how) == [("sparse", 1.0)]


def test_a_single_cut_has_nothing_before_it_to_tell_of() -> None:
    assert told(recipe.Recipe(**FAST, amount=0.5)) == []
