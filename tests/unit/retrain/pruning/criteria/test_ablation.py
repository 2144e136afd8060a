from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from retrain.pruning import groups
from retrain.pruning.criteria import ablation, base


class Add(nn.Module):
    """A block that adds a number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.value


def order(model: nn.Module, loss_of: Callable[[nn.Module], float]) -> list[float]:
    names = [name for name, _ in model.named_children()]
    modules = tuple(groups.Block(name, "input") for name in names)
    group = groups.CoupledGroup("layers", len(names), (), modules=modules)
    found = base.Evidence(
        model=model,
        gradients=lambda: iter(()),
        activations=lambda _: iter(()),
        loss_of=loss_of,
    )
    return [float(place) for place in ablation.score([group], found)[0]]


def away_from(target: float) -> Callable[[nn.Module], float]:
    return lambda model: abs(float(model(torch.zeros(()))) - target)


def test_the_block_without_which_the_loss_is_lowest_goes_first() -> None:
    model = nn.Sequential(Add(4.0), Add(1.0), Add(2.0))
    # Dense the sum is 7, which is right. Without 1 it is 6, without 1 and 2 it is 4.
    assert order(model, away_from(7.0)) == [2.0, 0.0, 1.0]


def test_what_is_gone_changes_what_goes_next() -> None:
    model = nn.Sequential(Add(3.0), Add(-3.2), Add(1.0))
    # The sum is 0.8. Without 1.0 it is -0.2, without 3.0 -2.2, without -3.2 it is 4: 1.0 goes.
    # Alone 3.0 costs less than -3.2. Now without 3.0 it is -3.2, without -3.2 it is 3.0.
    assert order(model, away_from(0.8)) == [2.0, 1.0, 0.0]


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    model = nn.Sequential(Add(1.0), Add(2.0))

    def loss_of(without: nn.Module) -> float:
        value = float(without(torch.zeros(())))
        return math.nan if value == 2.0 else value

    assert order(model, loss_of) == [1.0, 0.0]


def test_a_block_that_the_forward_needs_goes_last() -> None:
    model = nn.Sequential(Add(1.0), Add(2.0))

    def loss_of(without: nn.Module) -> float:
        return float(without.get_submodule("0").value)  # type: ignore[arg-type]

    assert order(model, loss_of) == [1.0, 0.0]


def test_the_model_is_left_as_it_is() -> None:
    model = nn.Sequential(Add(1.0), Add(2.0))
    order(model, away_from(0.0))
    assert [type(module) for module in model] == [Add, Add]
