from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from retrain.evaluate import evaluation, populations
from tests.support import subjects

RULES = evaluation.Rules(task="multiclass", classes=("a", "b", "c"))


def votes(*models: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([np.eye(3)[model] for model in models])


def test_most_models_decide() -> None:
    found = populations.modal(votes([0, 1, 2], [0, 1, 1], [2, 0, 1]), RULES)
    assert found.argmax(axis=1).tolist() == [0, 1, 1]


def test_between_equal_votes_the_surer_ones_decide() -> None:
    answers = np.array([[[0.55, 0.45, 0.0]], [[0.1, 0.9, 0.0]]])
    assert populations.modal(answers, RULES).argmax(axis=1).tolist() == [1]


def test_sureness_never_outvotes_a_vote() -> None:
    answers = np.array([[[0.51, 0.49, 0.0]], [[0.51, 0.49, 0.0]], [[0.0, 1.0, 0.0]]])
    assert populations.modal(answers, RULES).argmax(axis=1).tolist() == [0]


def test_values_have_their_median() -> None:
    rules = evaluation.Rules(task="regression")
    answers = np.array([[1.0, 5.0], [2.0, 6.0], [90.0, 7.0]])
    assert populations.modal(answers, rules).tolist() == [2.0, 6.0]


def test_exemplars_are_where_the_arms_differ() -> None:
    both = populations.Populations(
        pruned=votes([0, 2, 2], [0, 2, 1], [1, 2, 2]),
        control=votes([0, 1, 2], [0, 1, 2], [0, 2, 2]),
    )
    found = populations.compare(both, RULES)
    assert found.mask.tolist() == [False, True, False]
    assert found.noise is None


def test_the_noise_is_what_two_halves_of_the_controls_differ_by() -> None:
    control = votes([0, 1, 0, 0], [0, 2, 0, 1], [0, 1, 0, 0], [0, 2, 0, 1])
    found = populations.compare(populations.Populations(control, control), RULES)
    # The first and third say 0 1 0 0, the second and fourth 0 2 0 1.
    assert found.noise == pytest.approx(0.5)
    assert not found.mask.any()


def test_both_arms_are_grown_from_the_dense_parent_under_other_seeds() -> None:
    subject = subjects.tumours()
    parent = subject.models["parent"]
    before = nn.utils.parameters_to_vector(parent.parameters()).clone()
    grown = populations.grow(subject, subject.data.holdout.inputs, count=2)
    assert grown.pruned.shape == grown.control.shape == (2, subject.data.holdout.rows, 2)
    # Another seed is another order of the rows, so another model.
    assert (grown.pruned[0] != grown.pruned[1]).any()
    assert (grown.control[0] != grown.control[1]).any()
    assert torch.equal(nn.utils.parameters_to_vector(parent.parameters()), before)


def test_they_can_be_grown_again() -> None:
    subject = subjects.tumours()
    first, second = (
        populations.grow(subject, subject.data.validation.inputs, count=1) for _ in "ab"
    )
    assert (first.pruned == second.pruned).all()
    assert (first.control == second.control).all()
