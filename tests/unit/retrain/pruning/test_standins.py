from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from retrain.pruning import layers, standins


class Doubles(nn.Module):
    """A layer that no graph knows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.width = 3


class Stand(standins.StandIn):
    def parts(self) -> Iterator[standins.Part]:
        layer = standins.linear(2, 3, torch.ones(1))
        yield standins.Part(layer, layers.Loss((layers.Slot("weight", 0),), ()), "it reads nothing")


KINDS: standins.Kinds = (((Doubles,), Stand),)


def test_every_layer_of_a_kind_is_replaced_under_its_name() -> None:
    model = nn.Sequential(Doubles(), nn.Sequential(nn.ReLU(), Doubles()))
    placed = standins.install(model, KINDS)
    assert placed == {"0": model[0], "1.1": model[1][1]}
    assert isinstance(model[1][1], Stand)
    assert isinstance(model[1][0], nn.ReLU)


def test_a_layer_under_two_names_has_one_stand_in() -> None:
    shared = Doubles()
    model = nn.Sequential(shared, shared)
    assert list(standins.install(model, KINDS)) == ["0"]
    assert model[0] is model[1]


def test_a_stand_in_answers_for_the_attributes_of_its_layer() -> None:
    stand_in = Stand(Doubles())
    assert stand_in.width == 3
    with pytest.raises(AttributeError, match="height"):
        _ = stand_in.height


def test_the_weights_of_the_real_layer_are_not_among_the_copy_s() -> None:
    assert list(Stand(Doubles()).parameters()) == []


def test_making_a_linear_layer_draws_nothing() -> None:
    before = torch.get_rng_state()
    layer = standins.linear(2, 3, torch.ones(1, dtype=torch.float64))
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight.dtype == torch.float64
    assert torch.isfinite(layer(torch.ones(1, 2, dtype=torch.float64))).all()


def test_layers_that_the_graph_takes_wrongly_make_room_for_ones_it_knows() -> None:
    model = nn.Sequential(nn.PReLU(), nn.PReLU(4), nn.Sequential(nn.InstanceNorm1d(4))).eval()
    several = model[1]
    standins.familiarise(model)
    norm = model.get_submodule("2.0")
    assert isinstance(model[0], nn.LeakyReLU)
    assert model[1] is several
    assert isinstance(norm, nn.BatchNorm1d)
    assert (norm.num_features, norm.training) == (4, False)
