from __future__ import annotations

from collections.abc import Iterator

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base, taylor
from tests.support import ranking

BIASED = groups.CoupledGroup(
    "a", 2, (groups.Axis("a.weight", 0, (0, 1)), groups.Axis("a.bias", 0, (0, 1)))
)
ONES = ((1.0,), (1.0,))


def test_each_minibatch_is_squared_before_averaging() -> None:
    batches = [
        {"a.weight": torch.tensor([[2.0], [1.0]])},
        {"a.weight": torch.tensor([[-2.0], [1.0]])},
    ]
    found = taylor.score([BIASED], ranking.evidence(ranking.linears(a=ONES), batches))[0]
    # Unit 0 changes the loss by +2 and -2: averaged first it would score 0, squared first 4.
    assert found.tolist() == [4.0, 1.0]


def test_the_changes_of_coupled_weights_are_summed_before_squaring() -> None:
    model = ranking.linears(a=ONES)
    model.a.bias.data = torch.tensor([2.0, 2.0])
    batch = {"a.weight": torch.tensor([[1.0], [1.0]]), "a.bias": torch.tensor([1.0, -0.5])}
    # The squares of 1 + 2 = 3 and of 1 - 1 = 0.
    assert taylor.score([BIASED], ranking.evidence(model, [batch]))[0].tolist() == [9.0, 0.0]


def test_the_stream_is_read_only_once() -> None:
    model = ranking.linears(a=ranking.A, b=ranking.B)
    reads: list[int] = []

    def gradients() -> Iterator[base.Values]:
        reads.append(1)
        yield {name: torch.ones_like(p) for name, p in model.named_parameters()}

    given = ranking.evidence(model)
    taylor.score(ranking.TWO, base.Evidence(model, gradients, given.activations, given.loss_of))
    assert reads == [1]


def test_a_weight_scores_the_mean_square_of_its_change() -> None:
    batches = [{"a.weight": torch.tensor([[1.0, 0.0]])}, {"a.weight": torch.tensor([[-3.0, 1.0]])}]
    model = ranking.linears(a=((2.0, 4.0),))
    found = taylor.weigh(["a.weight"], ranking.evidence(model, batches))
    # The means of 4 and 36, and of 0 and 16.
    assert found["a.weight"].tolist() == [[20.0, 8.0]]
