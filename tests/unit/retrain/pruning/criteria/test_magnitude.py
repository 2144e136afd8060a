from __future__ import annotations

import pytest
import torch
from torch import nn

from retrain.pruning import groups
from retrain.pruning.criteria import magnitude
from tests.support import ranking


def test_a_score_is_the_norm_over_coupled_weights_over_the_mean_norm() -> None:
    model = ranking.linears(a=ranking.A, b=ranking.B)
    found = magnitude.score(ranking.TWO, ranking.evidence(model))[0]
    # Squares: rows of a 1, 25, 0.5; columns of b 1, 1, 5. Norms: sqrt 2, sqrt 26, sqrt 5.5.
    norms = torch.tensor([2.0, 26.0, 5.5], dtype=torch.float64).sqrt()
    assert torch.allclose(found, norms / norms.mean())


def test_scores_have_a_mean_of_one_in_each_group() -> None:
    model = ranking.linears(a=ranking.A, b=ranking.B)
    found = magnitude.score(ranking.TWO, ranking.evidence(model))
    assert [float(score.mean()) for score in found] == pytest.approx([1.0, 1.0])


def test_scores_do_not_change_when_all_weights_are_scaled() -> None:
    model = ranking.linears(a=ranking.A, b=ranking.B)
    before = magnitude.score(ranking.TWO, ranking.evidence(model))[0]
    model.a.weight.data *= 7.0
    model.b.weight.data *= 7.0
    assert torch.allclose(magnitude.score(ranking.TWO, ranking.evidence(model))[0], before)


def test_biases_do_not_count() -> None:
    group = groups.CoupledGroup(
        "a", 2, (groups.Axis("a.weight", 0, (0, 1)), groups.Axis("a.bias", 0, (0, 1)))
    )
    model = ranking.linears(a=((1.0, 1.0), (1.0, 1.0)))
    model.a.bias.data = torch.tensor([100.0, 0.0])
    assert magnitude.score([group], ranking.evidence(model))[0].tolist() == [1.0, 1.0]


def test_biases_of_recurrent_layers_do_not_count_either() -> None:
    model = nn.RNN(1, 2)
    nn.init.ones_(model.weight_ih_l0)
    nn.init.constant_(model.bias_hh_l0[:1], 100.0)
    axes = (groups.Axis("weight_ih_l0", 0, (0, 1)), groups.Axis("bias_hh_l0", 0, (0, 1)))
    group = groups.CoupledGroup("cells", 2, axes)
    assert magnitude.score([group], ranking.evidence(model))[0].tolist() == [1.0, 1.0]


def test_a_weight_scores_its_absolute_value() -> None:
    model = ranking.linears(a=((-2.0, 0.5),))
    found = magnitude.weigh(["a.weight"], ranking.evidence(model))
    assert found["a.weight"].tolist() == [[2.0, 0.5]]
