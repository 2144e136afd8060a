from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from coppice import errors, project
from retrain import network
from retrain.pruning import groups, neurons
from tests.support import networks


def trace(model: nn.Module, split: project.Split) -> neurons.Coupling:
    return neurons.trace(model, network.to_tensors(split.take(np.arange(2)).inputs))


def group(coupling: neurons.Coupling, name: str) -> groups.CoupledGroup:
    return {found.name: found for found in coupling.groups}[name]


def reasons(coupling: neurons.Coupling) -> dict[str, str]:
    return {whole.name: whole.reason for whole in coupling.whole}


def touched(found: groups.CoupledGroup) -> set[tuple[str, int | None]]:
    return {(axis.path, axis.dim) for axis in found.axes}


def test_a_unit_owns_its_row_its_bias_and_the_next_layer_s_column() -> None:
    found = group(trace(networks.mlp(), networks.vectors()), "0")
    assert found.units == 32
    assert touched(found) == {
        ("0.weight", 0),
        ("0.bias", 0),
        ("0.out_features", None),
        ("2.weight", 1),
        ("2.in_features", None),
    }


def test_channels_that_are_added_are_coupled() -> None:
    found = group(trace(networks.Residual(), networks.rows()), "first.0")
    assert ("stem.0.weight", 0) in touched(found)
    assert ("first.0.weight", 0) in touched(found)
    assert ("first.0.weight", 1) in touched(found)


def test_batch_norm_statistics_go_with_their_channel() -> None:
    found = group(trace(networks.Residual(), networks.rows()), "first.0")
    assert {("stem.1.running_mean", 0), ("stem.1.running_var", 0)} <= touched(found)


def test_a_depthwise_convolution_belongs_to_the_channels_it_reads() -> None:
    found = group(trace(networks.depthwise(), networks.rows()), "2")
    assert {("0.weight", 0), ("2.weight", 0), ("2.groups", None)} <= touched(found)


def test_a_channel_that_is_flattened_owns_a_run_of_columns() -> None:
    found = group(trace(networks.depthwise(), networks.rows()), "5")
    columns = {axis.path: axis.owners for axis in found.axes if axis.dim == 1}["9.weight"]
    # 32 channels of 2 x 2 pixels: columns 0-3 are channel 0's, 4-7 channel 1's.
    assert columns[:8] == (0, 0, 0, 0, 1, 1, 1, 1)


def test_a_grouped_convolution_loses_the_same_place_of_each_run() -> None:
    found = group(trace(networks.grouped(), networks.rows()), "0")
    owners = {(axis.path, axis.dim): axis.owners for axis in found.axes}
    # 16 inputs in 4 runs of 4: 4 units of 4 channels; the weight holds one run.
    assert (found.units, found.width) == (4, 4)
    assert owners["0.weight", 0] == (0, 1, 2, 3) * 4
    assert owners["2.weight", 1] == (0, 1, 2, 3)


def test_the_residual_width_of_an_encoder_is_one_group_in_blocks_of_heads() -> None:
    coupling = trace(networks.Transformer(), networks.sequences())
    found = group(coupling, "encoder.layers.0.linear2")
    assert (found.units, found.blocks) == (32, 4)
    assert {("embed.weight", 1), ("positions", 2), ("head.weight", 1)} <= touched(found)
    assert {
        ("encoder.layers.0.self_attn.in_proj_weight", 0),
        ("encoder.layers.0.self_attn.in_proj_weight", 1),
        ("encoder.layers.0.norm1.normalized_shape", None),
    } <= touched(found)


def test_query_key_and_value_rows_of_a_channel_go_together() -> None:
    coupling = trace(networks.Transformer(), networks.sequences())
    found = group(coupling, "encoder.layers.0.linear2")
    owners = {(axis.path, axis.dim): axis.owners for axis in found.axes}
    rows = owners["encoder.layers.0.self_attn.in_proj_weight", 0]
    assert rows == tuple(range(32)) * 3


def test_joined_towers_own_their_own_columns() -> None:
    coupling = trace(networks.TwoInputs(), networks.pairs())
    columns = {
        name: {axis.path: axis.owners for axis in group(coupling, name).axes if axis.dim == 1}
        for name in ("numbers", "image")
    }
    nobody = (groups.NOBODY,) * 16
    assert columns["numbers"]["gate.weight"] == tuple(range(16)) + nobody
    assert columns["image"]["gate.weight"] == nobody + tuple(range(16))


def test_the_two_halves_of_a_gate_go_together() -> None:
    found = group(trace(networks.TwoInputs(), networks.pairs()), "gate")
    assert found.units == 16
    assert {axis.path: axis.owners for axis in found.axes}["gate.bias"] == (*range(16), *range(16))


def test_the_layer_that_answers_stays_whole_and_says_so() -> None:
    assert reasons(trace(networks.mlp(), networks.vectors()))["4"] == "it gives the model's answer"


class AddsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.back, self.head = nn.Linear(6, 16), nn.Linear(16, 6), nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(values + self.back(torch.relu(self.inner(values))))  # type: ignore[no-any-return]


def test_a_layer_added_to_an_input_stays_whole() -> None:
    coupling = trace(AddsInput(), networks.vectors())
    assert [found.name for found in coupling.groups] == ["inner"]
    assert "input of the model" in reasons(coupling)["back"]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(10, 16), nn.Linear(16, 16)
        self.mid, self.head = nn.Linear(16, 16), nn.Linear(16, 2)
        self.mid.weight = self.inner.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens).mean(dim=1)
        return self.head(torch.relu(self.mid(torch.relu(self.inner(hidden)))))  # type: ignore[no-any-return]


def test_layers_that_share_weights_stay_whole() -> None:
    coupling = trace(Tied(), networks.sequences())
    assert coupling.groups == ()
    assert "is shared with another layer" in reasons(coupling)["inner"]


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.loop = nn.Linear(6, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.inner(values))
        return self.head(torch.relu(self.loop(torch.relu(self.loop(hidden)))))  # type: ignore[no-any-return]


def test_a_layer_used_twice_couples_what_it_reads_to_what_it_gives() -> None:
    found = group(trace(Reused(), networks.vectors()), "loop")
    assert {("loop.weight", 0), ("loop.weight", 1), ("inner.weight", 0)} <= touched(found)


def test_attention_written_by_hand_stays_whole() -> None:
    coupling = trace(networks.HandAttention(), networks.sequences())
    assert "attention written by hand" in reasons(coupling)["value"]


def test_the_model_is_left_as_it_was() -> None:
    model = networks.Residual().train()
    for parameter in model.stem.parameters():
        parameter.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model, networks.rows())
    assert model.training
    assert not model.stem[0].weight.requires_grad
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_are_found_like_any_other() -> None:
    model = networks.mlp().requires_grad_(requires_grad=False)
    assert {found.name for found in trace(model, networks.vectors()).groups} == {"0", "2"}


def test_tracing_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        assert trace(networks.mlp(), networks.vectors()).groups


def test_a_weight_norm_is_refused_with_what_to_do() -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(errors.PruningError, match="remove_parametrizations"):
        neurons.refuse(nn.Sequential(layer))


def test_a_spectral_norm_of_the_old_kind_is_refused_with_what_to_do() -> None:
    layer = torch.nn.utils.spectral_norm(nn.Linear(2, 2))
    with pytest.raises(errors.PruningError, match=r"call .*remove_spectral_norm in"):
        neurons.refuse(nn.Sequential(layer))


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.inner(values).detach().numpy())


def test_a_forward_that_autograd_cannot_follow_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="no layer was found"):
        trace(Detached(), networks.vectors())


class Broken(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(str(values.shape))


def test_a_forward_that_fails_is_refused_with_its_reason() -> None:
    with pytest.raises(errors.PruningError, match=r"cannot be traced .RuntimeError: .*2, 6"):
        trace(Broken(), networks.vectors())
