"""Attention with free widths inside: what replaces nn.MultiheadAttention before it is cut.

torch's module ties the channels of all heads to the width of what it reads, so that no head can go
alone. This one answers the same and is made of plain linear layers, whose widths are free.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional


class NarrowAttention(nn.Module):
    """Multi-head attention by the arguments of nn.MultiheadAttention.

    Attributes
    ----------
    num_heads
        Heads, each of `head_dim` query and key channels and of `value_dim` value channels.
    scale
        What products of queries and keys are multiplied with: it stays that of the uncut head.

    References
    ----------
    Vaswani et al.: Attention Is All You Need, 2017.
    """

    # What torch's encoder layer asks before it takes a fused path that knows nothing of this class.
    _qkv_same_embed_dim = False
    in_proj_bias = None

    def __init__(self, real: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim = real.embed_dim
        self.num_heads = real.num_heads
        self.head_dim = self.value_dim = real.head_dim
        self.scale = float(real.head_dim) ** -0.5
        self.batch_first = real.batch_first
        self.dropout = real.dropout
        weights = (
            real.in_proj_weight.chunk(3)
            if real._qkv_same_embed_dim  # noqa: SLF001 - torch has no public name for it
            else (real.q_proj_weight, real.k_proj_weight, real.v_proj_weight)
        )
        biases = (None,) * 3 if real.in_proj_bias is None else real.in_proj_bias.chunk(3)
        trained = real.out_proj.weight.requires_grad
        self.query, self.key, self.value = (
            _linear(weight, bias, trained=trained)
            for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = copy.deepcopy(real.out_proj)

    def forward(  # noqa: PLR0913, PLR0917 - these are torch's arguments
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002
        is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from queries to keys; shapes, masks and answers are those of torch's module.

        `is_causal` is a hint beside the mask, as there, and changes nothing here.
        """
        del is_causal
        alone = query.ndim == 2
        if alone:
            query, key, value = (each.unsqueeze(0) for each in (query, key, value))
        elif not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q, k, v = (
            self._heads(layer(each), width)
            for layer, each, width in (
                (self.query, query, self.head_dim),
                (self.key, key, self.head_dim),
                (self.value, value, self.value_dim),
            )
        )
        mask = self._mask(attn_mask, key_padding_mask, q, k)
        dropout = self.dropout if self.training else 0.0
        attention = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.scale
            attention = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            mixed = functional.dropout(attention, dropout) @ v
            attention = attention.mean(dim=1) if average_attn_weights else attention
        else:
            mixed = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, scale=self.scale
            )
        answers = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if alone:
            return answers.squeeze(0), None if attention is None else attention.squeeze(0)
        return answers if self.batch_first else answers.transpose(0, 1), attention

    def _heads(self, values: torch.Tensor, width: int) -> torch.Tensor:
        """Map [rows, steps, heads * width] to [rows, heads, steps, width]."""
        split = values.reshape(*values.shape[:2], self.num_heads, width)
        return split.transpose(1, 2)

    def _mask(
        self,
        attn_mask: torch.Tensor | None,
        padding: torch.Tensor | None,
        q: torch.Tensor,
        k: torch.Tensor,
    ) -> torch.Tensor | None:
        """Return what is added to the scores: broadcasts to [rows, heads, queries, keys]."""
        mask = None
        if attn_mask is not None:
            mask = _added(attn_mask, q.dtype)
            if mask.ndim == 3:
                mask = mask.reshape(-1, self.num_heads, q.shape[2], k.shape[2])
        if padding is not None:
            rows = _added(padding, q.dtype).reshape(-1, 1, 1, k.shape[2])
            mask = rows if mask is None else mask + rows
        return mask


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, *, trained: bool) -> nn.Linear:
    rows, columns = weight.shape
    made = nn.Linear(columns, rows, bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=trained)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=trained)
    return made


def _added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def reason(module: nn.MultiheadAttention) -> str | None:
    """Say why an attention cannot be replaced, or `None`."""
    if module.bias_k is not None or module.add_zero_attn:
        return "it adds keys of its own (add_bias_kv, add_zero_attn)"
    return None


def replace(model: nn.Module, name: str) -> None:
    """Put a NarrowAttention in the place of the nn.MultiheadAttention of that name."""
    real = model.get_submodule(name)
    assert isinstance(real, nn.MultiheadAttention)
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, NarrowAttention(real).train(real.training))
    keep_padded(model, name)


def keep_padded(model: nn.Module, name: str) -> None:
    """Tell every encoder around a module not to pack padded rows: torch's own layers read them."""
    while name:
        name = name.rpartition(".")[0]
        module = model.get_submodule(name)
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
