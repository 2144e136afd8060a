from __future__ import annotations

import pytest
import torch

from retrain import network, train
from retrain.pruning.criteria import l1
from tests.support import networks, ranking


def test_a_score_is_the_sum_of_absolute_coupled_weights_over_the_mean_sum() -> None:
    model = ranking.linears(
        a=((1.0, -1.0), (3.0, 4.0), (0.0, 0.0)), b=((0.0, 1.0, 0.0), (0.0, -1.0, 0.0))
    )
    # Rows of a: 2, 7, 0; columns of b: 0, 2, 0. Sums 2, 9, 0 with mean 11 / 3.
    found = l1.score(ranking.TWO, ranking.evidence(model))[0]
    assert found.tolist() == pytest.approx([6 / 11, 27 / 11, 0.0])


def test_scores_do_not_change_when_all_weights_are_scaled() -> None:
    before = l1.score(ranking.TWO, ranking.evidence(ranking.linears(a=ranking.A, b=ranking.B)))
    scaled = ranking.linears(
        a=[[3.0 * w for w in row] for row in ranking.A],
        b=[[3.0 * w for w in row] for row in ranking.B],
    )
    after = l1.score(ranking.TWO, ranking.evidence(scaled))
    assert torch.allclose(torch.cat(before), torch.cat(after))


def test_a_weight_scores_its_absolute_value() -> None:
    found = l1.CRITERION.weigh
    assert found is not None
    weights = found(["a.weight"], ranking.evidence(ranking.linears(a=((-2.0, 0.5),))))
    assert weights["a.weight"].tolist() == [[2.0, 0.5]]


def test_the_penalty_is_the_strength_times_the_sum_of_absolute_weights() -> None:
    model = ranking.linears(a=((1.0, -2.0),), b=((3.0,),))
    # Biases do not count.
    model.a.bias.data.fill_(100.0)
    assert l1.penalty((), model, 1e-2)(model).item() == pytest.approx(1e-2 * 6.0)


def test_frozen_weights_are_not_counted() -> None:
    model = ranking.linears(a=((1.0, -2.0),)).requires_grad_(requires_grad=False)
    assert l1.penalty((), model, 1.0)(model).item() == 0.0


def test_training_with_the_penalty_shrinks_the_weights() -> None:
    rows = networks.vectors()
    plain, sparse = (network.build(networks.mlp, seed=0) for _ in "ab")
    penalty = l1.penalty((), sparse, 1e-2)
    train.fit(plain, rows, train.FitPlan(task="binary", epochs=5, batch_size=16))
    history = train.fit(
        sparse, rows, train.FitPlan(task="binary", epochs=5, batch_size=16, penalty=penalty)
    )
    assert float(penalty(sparse).detach()) < 0.95 * float(penalty(plain).detach())
    assert history.losses[-1] < history.losses[0]
