from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from retrain.pruning import narrow

WIDTH, HEADS, ROWS, STEPS = 12, 3, 4, 5


def pair(**named: Any) -> tuple[nn.MultiheadAttention, narrow.NarrowAttention]:
    torch.manual_seed(0)
    real = nn.MultiheadAttention(WIDTH, HEADS, **named).eval()
    # torch leaves biases at zero, which would hide one that is read wrongly.
    for name, parameter in real.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return real, narrow.NarrowAttention(real).eval()


def values(steps: int = STEPS, width: int = WIDTH, seed: int = 1) -> torch.Tensor:
    return torch.randn(ROWS, steps, width, generator=torch.Generator().manual_seed(seed))


def same(real: nn.Module, other: nn.Module, *inputs: torch.Tensor, **named: Any) -> None:
    expected, weights = real(*inputs, **named)
    found, found_weights = other(*inputs, **named)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found_weights, weights, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_it_answers_like_torch(*, need_weights: bool, batch_first: bool, bias: bool) -> None:
    real, other = pair(batch_first=batch_first, bias=bias)
    x = values()
    same(real, other, x, x, x, need_weights=need_weights)


def test_keys_and_values_may_come_from_elsewhere_and_have_widths_of_their_own() -> None:
    real, other = pair(batch_first=True, kdim=6, vdim=7)
    same(real, other, values(), values(8, 6, 2), values(8, 7, 3))


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_single_sequence_needs_no_rows(*, batch_first: bool) -> None:
    real, other = pair(batch_first=batch_first)
    x = values()[0]
    same(real, other, x, x, x)


def test_the_weights_of_each_head_can_be_had() -> None:
    real, other = pair(batch_first=True)
    x = values()
    same(real, other, x, x, x, average_attn_weights=False)


CAUSAL = torch.ones(STEPS, STEPS, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 3 + [True] * 2, [False] * 5])


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {"attn_mask": CAUSAL},
        {"attn_mask": torch.zeros(STEPS, STEPS).masked_fill(CAUSAL, -1e4)},
        {"attn_mask": CAUSAL.expand(ROWS * HEADS, STEPS, STEPS)},
        {"key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "is_causal": True},
    ],
)
def test_masks_mean_what_they_mean_to_torch(masks: dict[str, Any], *, need_weights: bool) -> None:
    real, other = pair(batch_first=True)
    x = values()
    same(real, other, x, x, x, need_weights=need_weights, **masks)


def test_an_encoder_layer_answers_as_before() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True).eval()
    with torch.no_grad():
        expected = layer(values(), src_key_padding_mask=PADDING)
        narrow.replace(layer, "self_attn")
        found = layer(values(), src_key_padding_mask=PADDING)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_packs_no_padded_rows_any_more() -> None:
    torch.manual_seed(0)
    # Two heads: with an odd number torch packs nothing in the first place.
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    with torch.no_grad():
        expected = encoder(values(), src_key_padding_mask=PADDING)
        narrow.replace(encoder, "layers.0.self_attn")
        found = encoder(values(), src_key_padding_mask=PADDING)
    # What torch gives for a padded place is zero, ours is what the layers make of it.
    torch.testing.assert_close(found[~PADDING], expected[~PADDING], atol=1e-5, rtol=1e-4)


def test_dropout_acts_in_training_only() -> None:
    _, other = pair(batch_first=True, dropout=0.5)
    x = values()
    still, _ = other(x, x, x, need_weights=False)
    moving, _ = other.train()(x, x, x, need_weights=False)
    assert torch.equal(still, other.eval()(x, x, x, need_weights=False)[0])
    assert not torch.equal(still, moving)


def test_frozen_weights_stay_frozen() -> None:
    real = nn.MultiheadAttention(WIDTH, HEADS).requires_grad_(requires_grad=False)
    other = narrow.NarrowAttention(real)
    assert not any(parameter.requires_grad for parameter in other.parameters())


def test_replacing_draws_nothing() -> None:
    real = nn.MultiheadAttention(WIDTH, HEADS)
    state = torch.random.get_rng_state()
    narrow.NarrowAttention(real)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("named", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_an_attention_with_keys_of_its_own_is_not_replaced(named: dict[str, bool]) -> None:
    assert "keys of its own" in str(narrow.reason(nn.MultiheadAttention(WIDTH, HEADS, **named)))


def test_an_ordinary_attention_can_be_replaced() -> None:
    assert narrow.reason(nn.MultiheadAttention(WIDTH, HEADS)) is None
