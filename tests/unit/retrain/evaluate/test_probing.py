from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from coppice.labels import Floats
from retrain.evaluate import evaluation, probing
from retrain.pruning import schedule
from tests.support import subjects


def test_a_half_frozen_model_stays_half_frozen() -> None:
    model = copy.deepcopy(subjects.scans().models["candidate"])
    subject = subjects.with_candidate(subjects.scans(), model)
    model.train()
    frozen = model.get_submodule("1").eval()
    with probing.held(subject) as models:
        assert not any(part.training for part in models["candidate"].modules())
    assert model.training
    assert not frozen.training


def test_modes_and_threads_come_back_when_a_measurement_fails() -> None:
    model = copy.deepcopy(subjects.scans().models["candidate"])
    subject = subjects.with_candidate(subjects.scans(), model)
    model.train()
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="broken"), probing.held(subject):
        raise RuntimeError("broken")
    assert model.training
    assert torch.get_num_threads() == before


def test_chance_inside_is_seeded_and_outside_untouched() -> None:
    subject = subjects.scans()
    torch.manual_seed(5)
    with probing.held(subject):
        inside = torch.rand(1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    with probing.held(subject):
        assert torch.equal(inside, torch.rand(1))


def test_rows_are_drawn_once_each_in_their_order_and_by_seed() -> None:
    holdout = subjects.scans().data.holdout
    drawn = probing.sample(holdout, 50, seed=3)
    again = probing.sample(holdout, 50, seed=3)
    other = probing.sample(holdout, 50, seed=4)
    assert drawn.rows == 50
    assert np.array_equal(drawn.inputs["pixels"], again.inputs["pixels"])
    assert not np.array_equal(drawn.inputs["pixels"], other.inputs["pixels"])


def test_a_split_that_is_small_enough_is_taken_whole() -> None:
    holdout = subjects.scans().data.holdout
    assert probing.sample(holdout, holdout.rows, seed=0) is holdout


def test_rows_are_bounded_by_the_arithmetic_that_they_cost() -> None:
    subject = subjects.scans()
    macs = schedule.cost(subject.models["parent"], subject.data.train).macs
    small = subjects.with_inspect(subject, section_gigamacs=macs * 10 * 100.5 / 1e9)
    # Ten passes over each of a hundred rows, and a half row to spare.
    assert probing.affordable(small, subject.data.holdout, passes=10, most=500).rows == 100


def test_however_dear_a_few_rows_are_asked_and_never_more_than_wanted() -> None:
    subject = subjects.with_inspect(subjects.scans(), section_gigamacs=1e-9)
    holdout = subject.data.holdout
    assert probing.affordable(subject, holdout, passes=1, most=500).rows == probing.LEAST_ROWS
    assert probing.affordable(subject, holdout, passes=1, most=10).rows == 10
    rich = subjects.with_inspect(subjects.scans(), section_gigamacs=1e9)
    assert probing.affordable(rich, holdout, passes=1, most=500).rows == 500


def test_scores_are_those_of_the_whole_product() -> None:
    subject = subjects.scans()
    found = probing.scores(subject.models["parent"], subject.data.holdout, subject.rules)
    assert set(found.tolist()) <= {0.0, 1.0}
    assert found.mean() > 0.9


def test_a_regression_is_scored_by_its_scale_and_loses_its_error() -> None:
    subject = subjects.diabetes()
    found = probing.scores(subject.models["parent"], subject.data.holdout, subject.rules)
    assert 0.0 <= found.min() < found.max() <= 1.0
    answers, targets = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    assert probing.losses(answers, targets, "regression").tolist() == [2.0, 1.0]


def test_classes_lose_cross_entropy() -> None:
    answers = torch.tensor([[0.0, 0.0]])
    # Two classes alike: ln 2.
    found = probing.losses(answers, torch.tensor([1]), "binary")
    assert float(found[0]) == pytest.approx(0.6931, abs=1e-4)


def test_only_floating_point_can_be_moved() -> None:
    tensors = {"x": torch.zeros(1), "tokens": torch.zeros(1, dtype=torch.int64)}
    assert probing.movable(tensors) == ("x",)


def test_a_flat_picture_is_black() -> None:
    assert probing.grey(np.full((1, 2), 7.0)) == ((0.0, 0.0),)


def test_what_could_not_be_measured_says_why() -> None:
    found = probing.unmeasured("privacy", "Privacy", "there are 3 rows")
    assert (found.status, found.sentence) == ("not measured", "Not measured: there are 3 rows.")


def test_columns_that_a_subject_lacks_are_left_out() -> None:
    subject = subjects.scans()
    two: dict[evaluation.Column, nn.Module] = {
        "parent": subject.models["parent"],
        "candidate": subject.models["candidate"],
    }
    with probing.held(dataclasses.replace(subject, models=two)) as models:
        assert list(models) == ["parent", "candidate"]


def test_rows_of_wide_inputs_are_bounded_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # Scans have 64 numbers a row, so 6,400 numbers are a hundred rows.
    monkeypatch.setattr(probing, "MOST_NUMBERS", 6400)
    subject = subjects.scans()
    assert probing.affordable(subject, subject.data.holdout, passes=1, most=500).rows == 100


def test_large_pictures_are_thinned_out() -> None:
    shown = probing.grey(np.arange(200.0 * 90).reshape(200, 90))
    # 200 over 64 is 3.1, so every fourth row and column stays.
    assert (len(shown), len(shown[0])) == (50, 23)


@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)))
def test_pictures_span_black_to_white_unless_they_are_flat(picture: Floats) -> None:
    values = [value for line in probing.grey(picture) for value in line]
    assert min(values) == 0.0
    assert max(values) == (1.0 if np.ptp(picture) > 0 else 0.0)


def test_points_round_to_a_tenth() -> None:
    assert probing.points(-0.00449) == "-0.4 points"
