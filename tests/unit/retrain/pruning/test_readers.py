from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from retrain.pruning import groups, readers


def linear(*rows: tuple[float, ...]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def largest(module: nn.Module, values: torch.Tensor, tensor: str = "weight") -> torch.Tensor:
    found = readers.shares(module, tensor, values)
    assert found is not None
    return found.largest


def test_a_share_is_a_product_over_the_sum_of_its_sign() -> None:
    found = largest(linear((1.0, 3.0, -2.0)), torch.tensor([[3.0, 1.0, 5.0]]))
    # Positive weights: 3 and 3 of 6. Negative weights: -10 of -10.
    assert found.tolist() == [[0.5, 0.5, 1.0]]


def test_the_largest_share_over_the_rows_counts() -> None:
    found = largest(linear((1.0, 1.0)), torch.tensor([[1.0, 3.0], [1.0, 1.0]]))
    # 1 / 4 and 1 / 2; 3 / 4 and 1 / 2.
    assert found.tolist() == [[0.5, 0.75]]


def test_positive_and_negative_values_are_summed_apart() -> None:
    found = largest(linear((1.0, 1.0, 1.0)), torch.tensor([[1.0, -2.0, 3.0]]))
    # 1 / 4 and 3 / 4 of the positive values; 2 / 2 of the negative ones.
    assert found.tolist() == [[0.25, 1.0, 0.75]]


def test_a_value_that_is_always_zero_has_no_share() -> None:
    found = largest(linear((1.0, 1.0)), torch.tensor([[0.0, 2.0], [0.0, 3.0]]))
    assert found.tolist() == [[0.0, 1.0]]


def test_a_sum_of_nothing_has_no_shares() -> None:
    assert largest(linear((0.0, 0.0)), torch.ones(3, 2)).tolist() == [[0.0, 0.0]]
    assert largest(linear((1.0, 1.0)), torch.zeros(3, 2)).tolist() == [[0.0, 0.0]]


def test_shares_do_not_change_with_the_scale_of_a_filter_or_of_a_row() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(5, 4)
    layer.weight.data = torch.randn(4, 5, generator=generator)
    values = torch.randn(7, 5, generator=generator)
    before = largest(layer, values)
    layer.weight.data[2] *= 100.0
    values[3] *= 0.01
    assert torch.allclose(largest(layer, values), before, atol=1e-5)


def test_further_dimensions_of_a_sequence_are_rows() -> None:
    values = torch.tensor([[[1.0, 3.0]], [[1.0, 1.0]]])
    assert largest(linear((1.0, 1.0)), values).tolist() == [[0.5, 0.75]]


def brute(layer: nn.Conv2d, image: torch.Tensor) -> torch.Tensor:
    """Return the shares of a convolution of one group over one image of no negative values."""
    padded = nn.functional.pad(image, [layer.padding[0]] * 4)
    size, step = layer.kernel_size[0], layer.stride[0]
    best = torch.zeros_like(layer.weight)
    places = range(0, padded.shape[-1] - size + 1, step)
    for top, left in itertools.product(places, places):
        patch = padded[0, :, top : top + size, left : left + size]
        for number, weights in enumerate(layer.weight.detach()):
            for part in ((weights * patch).clamp_min(0.0), (-weights * patch).clamp_min(0.0)):
                best[number] = torch.maximum(best[number], part / part.sum().clamp_min(1e-6))
    return best.detach()


def test_a_convolution_is_taken_apart_patch_by_patch() -> None:
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(3)
    layer = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    image = torch.rand(1, 3, 7, 7)
    torch.random.set_rng_state(torch_state)
    assert torch.allclose(largest(layer, image), brute(layer, image), atol=1e-5)


def test_a_convolution_tells_its_places() -> None:
    found = readers.shares(nn.Conv2d(2, 3, 3, stride=2), "weight", torch.ones(2, 2, 7, 7))
    assert found is not None
    # 3 x 3 places of a kernel of 3 at steps of 2.
    assert found.patches == 9


def test_each_group_of_a_convolution_sums_its_own_channels() -> None:
    layer = nn.Conv1d(4, 2, 1, groups=2, bias=False)
    layer.weight.data = torch.tensor([[[1.0], [1.0]], [[1.0], [3.0]]])
    values = torch.tensor([[[1.0], [3.0], [1.0], [1.0]]])
    # 1 and 3 of 4; 1 and 3 of 4 by the weights.
    assert largest(layer, values).squeeze(2).tolist() == [[0.25, 0.75], [0.25, 0.75]]


def test_many_rows_are_laid_out_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(2, 3, 3)
    values = torch.rand(5, 2, 6, 6)
    whole = largest(layer, values)
    monkeypatch.setattr(readers, "CHUNK", 1)
    assert torch.allclose(largest(layer, values), whole)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_multiply_inputs_and_earlier_states(kind: type[nn.RNNBase]) -> None:
    layer = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True).requires_grad_(False)
    values = torch.rand(2, 5, 3)
    first = kind(3, 4, bidirectional=True, batch_first=True).requires_grad_(False)
    first.load_state_dict({name: layer.state_dict()[name] for name in first.state_dict()})
    outputs = first(values)[0]
    plain = nn.Linear(8, len(layer.weight_ih_l1))
    plain.weight.data = layer.weight_ih_l1
    assert torch.allclose(largest(layer, values, "weight_ih_l1"), largest(plain, outputs))
    # The states that the backward direction multiplies are those after the first step.
    back = nn.Linear(4, len(layer.weight_hh_l0_reverse))
    back.weight.data = layer.weight_hh_l0_reverse
    found = largest(layer, values, "weight_hh_l0_reverse")
    assert torch.allclose(found, largest(back, outputs[:, 1:, 4:]))


def test_steps_may_come_first() -> None:
    layer = nn.LSTM(3, 4, batch_first=True)
    other = nn.LSTM(3, 4)
    other.load_state_dict(layer.state_dict())
    values = torch.rand(2, 5, 3)
    first = largest(layer, values, "weight_hh_l0")
    assert torch.allclose(first, largest(other, values.transpose(0, 1), "weight_hh_l0"))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
def test_projected_states_are_what_is_multiplied_again() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 6, num_layers=2, proj_size=4, batch_first=True)
    found = readers.shares(layer, "weight_hh_l1", torch.rand(2, 5, 3))
    assert found is not None
    assert found.largest.shape == (24, 4)


def test_what_a_cell_s_states_were_is_not_known() -> None:
    cell = nn.GRUCell(3, 4)
    assert readers.shares(cell, "weight_hh", torch.rand(2, 3)) is None
    assert largest(cell, torch.rand(2, 3), "weight_ih").shape == (12, 3)


def test_input_sides_are_found_among_what_a_group_owns() -> None:
    model = nn.ModuleDict(
        {
            "a": nn.Conv2d(1, 2, 3),
            "norm": nn.BatchNorm2d(2),
            "depth": nn.Conv2d(2, 2, 3, groups=2),
            "b": nn.Conv2d(2, 3, 1),
            "cells": nn.LSTM(2, 4),
        }
    )
    both = (0, 1)
    group = groups.CoupledGroup(
        "a",
        2,
        (
            groups.Axis("a.weight", 0, both),
            groups.Axis("a.out_channels", None, both),
            groups.Axis("norm.weight", 0, both),
            groups.Axis("depth.weight", 0, both),
            groups.Axis("b.weight", 1, both),
            groups.Axis("cells.weight_ih_l0", 1, both),
        ),
    )
    assert readers.of(model, group) == [
        readers.Reader("b", "weight", both),
        readers.Reader("cells", "weight_ih_l0", both),
    ]
