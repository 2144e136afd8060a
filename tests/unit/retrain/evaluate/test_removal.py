from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from retrain import network
from retrain.evaluate import removal
from tests.support import networks, subjects


def example(count: int = 2) -> dict[str, torch.Tensor]:
    return network.to_tensors(networks.rows(count).inputs)


def named(model: nn.Module, tensors: network.Tensors) -> dict[str, removal.Part]:
    return {part.name: part for part in removal.parts(model.eval(), tensors)}


def answer(model: nn.Module, tensors: network.Tensors) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model.eval(), tensors)


def test_blocks_and_layers_are_found_and_norms_are_not() -> None:
    found = named(networks.Residual(), example())
    assert {name: part.kind for name, part in found.items()} == {
        "stem": "block",
        "stem.0": "layer",
        "first": "block",
        "first.0": "layer",
        "second": "block",
        "second.0": "layer",
        "short": "layer",
        "head": "layer",
    }
    assert found["head"].parameters == 32 * 3 + 3
    assert (found["stem"].depth, found["stem.0"].depth) == (0, 1)


def test_only_what_keeps_its_shape_can_be_passed_by() -> None:
    found = named(networks.Residual(), example())
    assert found["first"].ways == ("zeros", "input")
    assert found["second"].ways == ("zeros",)


def test_a_part_that_no_answer_goes_through_is_not_listed() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    model.register_module("spare", nn.Linear(6, 6))
    wrapped = _First(model)
    tensors = network.to_tensors(networks.vectors(2).inputs)
    assert list(named(wrapped, tensors)) == ["first"]


class _First(nn.Module):
    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.first, self.spare = model[0], model.get_submodule("spare")

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.first(values)  # type: ignore[no-any-return]


def test_weights_that_attention_reads_itself_are_not_listed_as_a_layer() -> None:
    tensors = network.to_tensors(networks.sequences(2).inputs)
    found = named(networks.Transformer(), tensors)
    assert "encoder.layers.0.self_attn" in found
    # Its projection is read by attention directly and never called, so no hook could take it out.
    assert "encoder.layers.0.self_attn.out_proj" not in found


def test_a_branch_without_its_block_is_the_plain_way() -> None:
    model, tensors = networks.Residual().eval(), example()
    silent = copy.deepcopy(model)
    for parameter in silent.first[1].parameters():
        nn.init.zeros_(parameter)
    with removal.without(model, "first", "zeros"):
        assert torch.equal(answer(model, tensors), answer(silent, tensors))


def test_a_layer_that_is_passed_by_hands_on_its_input() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    tensors = network.to_tensors(networks.vectors(4).inputs)
    with removal.without(model, "0", "input"):
        assert torch.equal(answer(model, tensors), answer(model[1], tensors))


def test_attention_that_gives_two_things_is_silenced() -> None:
    model = networks.Transformer().eval()
    tensors = network.to_tensors(networks.sequences(4).inputs)
    before = answer(model, tensors)
    with removal.without(model, "encoder.layers.0.self_attn", "zeros"):
        assert not torch.allclose(answer(model, tensors), before)
    # To the last bit or two: without hooks torch takes its fused way.
    assert torch.allclose(answer(model, tensors), before, atol=1e-6)


def test_a_hook_is_gone_also_when_the_question_fails() -> None:
    model = networks.Residual()
    with pytest.raises(RuntimeError, match="broken"), removal.without(model, "first", "zeros"):
        raise RuntimeError("broken")
    assert not model.first._forward_hooks


def test_finding_parts_leaves_no_hooks() -> None:
    model = networks.Residual()
    named(model, example())
    assert not any(part._forward_hooks for part in model.modules())


def test_quarters_hold_every_channel_once_weakest_first() -> None:
    model = networks.Residual().eval()
    with torch.no_grad():
        next(model.second.parameters())[3:11] *= 0.01
        model.short.weight[3:11] *= 0.01
        model.head.weight[:, 3:11] *= 0.01
    tensors = example(8)
    found = removal.quarters(model, tensors)
    assert sum(quarter.units for quarter in found) == 16 + 32
    wide = [quarter for quarter in found if quarter.units == 8]
    assert [quarter.name.split(" ", 1)[1] for quarter in wide] == [
        f"channels {place}/4 by magnitude" for place in (1, 2, 3, 4)
    ]
    gaps = [
        float((answer(quarter.without, tensors) - answer(model, tensors)).abs().max())
        for quarter in wide
    ]
    # The first quarter is what was made a hundred times smaller on both sides of the channels.
    assert gaps[0] < 0.1 * min(gaps[1:])


def test_taking_channels_out_changes_no_weight() -> None:
    model = copy.deepcopy(subjects.scans().models["candidate"])
    before = copy.deepcopy(model.state_dict())
    tensors = network.to_tensors(subjects.scans().data.validation.inputs)
    for quarter in removal.quarters(model, tensors):
        answer(quarter.without, tensors)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_networks_that_cannot_be_followed_have_no_quarters() -> None:
    detached = _Detached()
    tensors = {"values": torch.zeros(2, 3)}
    assert removal.quarters(detached, tensors) == []
    assert set(named(detached, tensors)) == {"first", "head"}


class _Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(self.first(values).detach())  # type: ignore[no-any-return]


def test_hidden_units_of_a_recurrent_layer_have_quarters() -> None:
    recurrent = _Recurrent()
    found = removal.quarters(recurrent, {"values": torch.zeros(2, 5, 3)})
    assert [quarter.name for quarter in found] == [
        f"cell, channels {place}/4 by magnitude" for place in (1, 2, 3, 4)
    ]


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(values)[0][:, -1])  # type: ignore[no-any-return]
