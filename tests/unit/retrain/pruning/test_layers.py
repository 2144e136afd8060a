from __future__ import annotations

import pytest
from torch import nn

from retrain.pruning import layers


def shrinking(module: nn.Module, side: layers.Side) -> set[tuple[str, int]]:
    found = layers.loss(module, side)
    assert found is not None
    return {(slot.tensor, slot.dim) for slot in found.slots}


def counts(module: nn.Module, side: layers.Side) -> set[str]:
    found = layers.loss(module, side)
    assert found is not None
    return set(found.attributes)


@pytest.mark.parametrize(
    ("module", "side", "slots", "attributes"),
    [
        (nn.Linear(2, 3), "out", {("weight", 0), ("bias", 0)}, {"out_features"}),
        (nn.Linear(2, 3), "in", {("weight", 1)}, {"in_features"}),
        (nn.Conv2d(2, 3, 1), "out", {("weight", 0), ("bias", 0)}, {"out_channels"}),
        (nn.Conv1d(2, 3, 1), "in", {("weight", 1)}, {"in_channels"}),
        (nn.ConvTranspose2d(2, 3, 1), "out", {("weight", 1), ("bias", 0)}, {"out_channels"}),
        (nn.ConvTranspose2d(2, 3, 1), "in", {("weight", 0)}, {"in_channels"}),
        (nn.Embedding(5, 3), "out", {("weight", 1)}, {"embedding_dim"}),
        (nn.PReLU(3), "out", {("weight", 0)}, {"num_parameters"}),
        (nn.PReLU(1), "out", set(), set()),
    ],
)
def test_a_layer_loses_its_slices_and_its_count(
    module: nn.Module, side: layers.Side, slots: set[tuple[str, int]], attributes: set[str]
) -> None:
    assert shrinking(module, side) == slots
    assert counts(module, side) == attributes


def test_a_depthwise_convolution_loses_on_both_sides_at_once() -> None:
    module = nn.Conv2d(4, 4, 3, groups=4)
    assert counts(module, "out") == {"in_channels", "out_channels", "groups"}
    assert layers.loss(module, "in") == layers.loss(module, "out")


def test_a_grouped_convolution_ties_its_runs() -> None:
    found = layers.loss(nn.Conv2d(8, 4, 1, groups=2), "in")
    assert found is not None
    assert (found.blocks, found.tied) == (2, True)
    # Its weight holds the inputs of one run only.
    assert found.slots == (layers.Slot("weight", 1, blocks=2),)


def test_a_batch_norm_loses_its_running_statistics_too() -> None:
    wanted = {("weight", 0), ("bias", 0), ("running_mean", 0), ("running_var", 0)}
    assert shrinking(nn.BatchNorm2d(3), "out") == wanted


def test_a_group_norm_keeps_as_many_in_each_group() -> None:
    found = layers.loss(nn.GroupNorm(2, 8), "out")
    assert found is not None
    assert (found.blocks, found.tied) == (2, False)


def test_attention_keeps_as_many_in_each_head() -> None:
    found = layers.loss(nn.MultiheadAttention(8, 4), "out")
    assert found is not None
    assert found.blocks == 4
    assert layers.Slot("in_proj_weight", 0, copies=3) in found.slots


@pytest.mark.parametrize(
    "module",
    [
        nn.MultiheadAttention(8, 2, kdim=4),
        nn.LayerNorm((4, 8)),
        nn.ConvTranspose2d(4, 8, 1, groups=2),
        nn.Flatten(),
    ],
)
def test_a_layer_without_a_rule_is_not_cut(module: nn.Module) -> None:
    assert layers.loss(module, "out") is None
