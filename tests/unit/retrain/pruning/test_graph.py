from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from coppice import errors
from retrain.pruning import graph, layers


class Odd(nn.Module):
    """A weight for each row, and a part of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.wide, self.last = nn.Linear(6, 1), nn.Linear(6, 8), nn.Linear(4, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        weighed = torch.relu(self.wide(values)) * torch.sigmoid(self.weight(values))
        return self.last(weighed[:, :4])  # type: ignore[no-any-return]


class Summed(nn.Module):
    """Answers with sums over more channels than it has answers."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(6, 8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        score = self.wide(values).sum(dim=1)
        return torch.stack([score, -score], dim=1)


class Joined(nn.Module):
    """Two layers that answer side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.left(values), self.right(values)], dim=1)


def coupled(model: nn.Module) -> dict[str, list[Any]]:
    names = {id(module): name for name, module in model.named_modules()}
    found = graph.build(model, {"values": torch.ones(2, 6)})
    return {
        names[id(items[0].dep.target.module)]: list(items)
        for items in graph.coupled(found, layers.ROOTS)
    }


def test_a_layer_of_one_channel_does_not_hide_the_layers_that_it_weighs() -> None:
    assert {"weight", "wide"} <= coupled(Odd()).keys()


def test_channels_that_are_summed_up_are_not_in_the_answer() -> None:
    assert not any(graph.answers(item) for item in coupled(Summed())["wide"])


def test_the_layer_that_answers_is_in_the_answer() -> None:
    assert any(graph.answers(item) for item in coupled(nn.Sequential(nn.Linear(6, 3)))["0"])


def test_channels_joined_into_the_answer_are_in_it() -> None:
    found = coupled(Joined())
    assert found
    assert all(any(graph.answers(item) for item in items) for items in found.values())


def test_a_part_of_the_channels_is_told() -> None:
    assert any(graph.splits(item) for item in coupled(Odd())["wide"])


def test_sides_are_told_apart() -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2))
    sides = {id(item.dep.target.module): graph.side(item) for item in coupled(model)["0"]}
    assert (sides[id(model[0])], sides[id(model[1])]) == ("out", "in")


def test_a_forward_that_fails_is_refused_with_its_reason() -> None:
    with pytest.raises(errors.PruningError, match=r"cannot be traced \(RuntimeError: mat1"):
        graph.build(nn.Linear(3, 2), {"values": torch.ones(2, 6)})
