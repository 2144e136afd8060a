from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain import network
from retrain.evaluate import saliency
from tests.support import networks, subjects

RANDOM = np.random.default_rng(0)


def line(*weights: float) -> nn.Linear:
    model = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
    return model


def value_of(*values: float) -> saliency.Question:
    return saliency.Question(
        tensors={"x": torch.tensor([values])},
        named=torch.zeros(1, dtype=torch.int64),
        task="regression",
    )


def test_a_straight_lines_gradient_is_its_weights() -> None:
    assert saliency.input_gradients(line(2.0, -1.0), value_of(5.0, 7.0)).tolist() == [[2.0, -1.0]]


def test_a_straight_lines_shares_are_weight_times_distance_from_the_baseline() -> None:
    found = saliency.integrated_gradients(
        line(2.0, -1.0), value_of(5.0, 7.0), {"x": torch.tensor([1.0, 1.0])}
    )
    assert found == pytest.approx(np.array([[8.0, -6.0]]))


def test_shares_sum_up_to_what_the_answer_changes() -> None:
    subject = subjects.scans()
    model, split = subject.models["parent"], subject.data.holdout.take(np.arange(60))
    asked = saliency.question(model, split, "multiclass")
    mean = torch.from_numpy(subject.training.inputs["pixels"].mean(axis=0))
    found = saliency.integrated_gradients(model, asked, {"pixels": mean}).sum(axis=1)
    with torch.no_grad():
        there = saliency.answer(model, asked)
        at_mean = {"pixels": mean.expand(60, 1, 8, 8)}
        here = saliency.answer(
            model, saliency.Question(tensors=at_mean, named=asked.named, task="multiclass")
        )
    change = (there - here).numpy()
    # Sixteen points on a network with kinks: within a tenth of the change.
    assert np.abs(found - change).mean() < 0.1 * np.abs(change).mean()


def test_a_model_is_asked_about_the_class_that_it_names() -> None:
    subject = subjects.tumours()
    model, split = subject.models["parent"], subject.data.holdout
    asked = saliency.question(model, split, "binary")
    with torch.no_grad():
        answers = network.call(model, asked.tensors)
    assert torch.equal(saliency.answer(model, asked), answers.max(dim=1).values)


def test_codes_beside_numbers_are_part_of_the_question_but_not_of_the_answer() -> None:
    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.scale = nn.Embedding(3, 1), line(2.0, 3.0)

        def forward(self, code: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.scale(x) + self.table(code)  # type: ignore[no-any-return]

    split = project.Split(
        inputs={"code": np.array([0, 2]), "x": np.ones((2, 2), np.float32)}, targets=np.zeros(2)
    )
    model = Lookup()
    asked = saliency.question(model, split, "regression")
    assert saliency.input_gradients(model, asked).tolist() == [[2.0, 3.0]] * 2


def test_several_inputs_lie_side_by_side_in_the_order_of_their_names() -> None:
    model = networks.TwoInputs().eval()
    asked = saliency.question(model, networks.pairs(5), "binary")
    # Sixteen pixels of `image`, then four `numbers`.
    assert saliency.input_gradients(model, asked).shape == (5, 20)


def test_no_parameter_gets_a_gradient() -> None:
    model = networks.mlp().eval()
    saliency.input_gradients(model, saliency.question(model, networks.vectors(8), "binary"))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_models_and_such_that_work_in_place_can_be_explained() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), copy.deepcopy(networks.mlp())).eval()
    model.requires_grad_(requires_grad=False)
    asked = saliency.question(model, networks.vectors(8), "binary")
    assert np.abs(saliency.input_gradients(model, asked)).sum() > 0.0


def test_batches_change_nothing() -> None:
    model = networks.mlp().eval()
    whole = saliency.question(model, networks.vectors(600), "binary")
    found = saliency.input_gradients(model, whole)
    assert found[300:310] == pytest.approx(
        saliency.input_gradients(model, whole.take(300, 310)), abs=1e-6
    )


def test_rank_correlation_is_spearmans() -> None:
    first, second = RANDOM.normal(size=(2, 5, 12))
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert saliency.rank_correlation(first, second) == pytest.approx(np.array(expected))


def test_what_is_the_same_agrees_exactly_flat_or_not() -> None:
    maps = np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    assert saliency.rank_correlation(maps, maps).tolist() == [1.0, 1.0]
    assert saliency.top_overlap(maps, maps).tolist() == [1.0, 1.0]


def test_a_flat_map_does_not_agree_with_another() -> None:
    flat, other = np.zeros((1, 3)), np.array([[1.0, 2.0, 3.0]])
    assert saliency.rank_correlation(flat, other).tolist() == [0.0]


def test_the_top_is_a_tenth_of_the_values_but_at_least_three() -> None:
    assert [saliency.top_count(values) for values in (2, 10, 30, 64, 1000)] == [2, 3, 3, 7, 100]


def test_opposite_signs_lie_in_the_top_alike_but_rank_oppositely() -> None:
    first = np.array([[3.0, 2.0, 1.0, 0.1, 0.0]])
    assert saliency.top_overlap(first, -first).tolist() == [1.0]
    assert saliency.rank_correlation(first, -first).tolist() == pytest.approx([-1.0])


MAPS = arrays.arrays(np.float64, (3, 6), elements=st.integers(-5, 5).map(float))


@given(MAPS, MAPS)
def test_agreement_is_mutual_and_bounded(first: Floats, second: Floats) -> None:
    ranks = saliency.rank_correlation(first, second)
    assert ranks == pytest.approx(saliency.rank_correlation(second, first))
    assert (np.abs(ranks) <= 1.0 + 1e-12).all()
    overlap = saliency.top_overlap(first, second)
    assert overlap.tolist() == saliency.top_overlap(second, first).tolist()
    assert ((overlap >= 0.0) & (overlap <= 1.0)).all()


@given(MAPS)
def test_ranks_do_not_hang_on_the_scale_of_an_attribution(maps: Floats) -> None:
    bent = np.sinh(maps / 2.0) * 7.0
    flat = np.ptp(maps, axis=1) == 0.0
    assert saliency.rank_correlation(maps, bent)[~flat] == pytest.approx(1.0)
    assert saliency.top_overlap(maps, bent).tolist() == [1.0] * 3
