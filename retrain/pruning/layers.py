"""What each kind of layer loses when a channel goes on one of its sides: a table, nothing else.

A side is `out` (what the layer gives) or `in` (what it reads). For most norms both are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from torch import nn

from retrain import network

Side: TypeAlias = Literal["in", "out"]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
ROOTS = (nn.Linear, nn.Embedding, *CONVOLUTIONS, *TRANSPOSED)
"""Layers whose outputs can be removed."""


class Slot(NamedTuple):
    """A tensor that shrinks along a dimension.

    `copies` times the channels lie there one run after the other (the query, key and value rows of
    attention); of `blocks` the dimension holds only the first run (a grouped convolution's input).
    """

    tensor: str
    dim: int
    copies: int = 1
    blocks: int = 1


@dataclasses.dataclass(frozen=True)
class Loss:
    """What goes with one channel of one side of a layer.

    Attributes
    ----------
    slots
        Tensors that shrink; those that the layer does not have are passed over.
    attributes
        The layer's own counts.
    blocks
        As many channels must stay in each of so many equal runs.
    tied
        The runs must lose the same places, not only as many.
    """

    slots: tuple[Slot, ...]
    attributes: tuple[str, ...]
    blocks: int = 1
    tied: bool = False


def loss(module: nn.Module, side: Side) -> Loss | None:
    """Look a layer up; `None` where it cannot be cut on that side."""
    for kinds, rule in _RULES:
        if isinstance(module, kinds):
            return rule(module, side)
    return None


def _linear(module: nn.Module, side: Side) -> Loss:
    del module
    if side == "out":
        return Loss((Slot("weight", 0), Slot("bias", 0)), ("out_features",))
    return Loss((Slot("weight", 1),), ("in_features",))


def _convolution(module: nn.Module, side: Side) -> Loss:
    assert isinstance(module, CONVOLUTIONS)
    groups = module.groups
    if groups == module.in_channels == module.out_channels and groups > 1:
        return _depthwise()
    if side == "out":
        filters = (Slot("weight", 0), Slot("bias", 0))
        return Loss(filters, ("out_channels",), blocks=groups, tied=groups > 1)
    columns = (Slot("weight", 1, blocks=groups),)
    return Loss(columns, ("in_channels",), blocks=groups, tied=groups > 1)


def _depthwise() -> Loss:
    counts = ("in_channels", "out_channels", "groups")
    return Loss((Slot("weight", 0), Slot("bias", 0)), counts)


def _transposed(module: nn.Module, side: Side) -> Loss | None:
    assert isinstance(module, TRANSPOSED)
    if module.groups == module.in_channels == module.out_channels and module.groups > 1:
        return _depthwise()
    if module.groups > 1:
        return None
    if side == "out":
        return Loss((Slot("weight", 1), Slot("bias", 0)), ("out_channels",))
    return Loss((Slot("weight", 0),), ("in_channels",))


_PER_CHANNEL = tuple(Slot(name, 0) for name in ("weight", "bias", "running_mean", "running_var"))


def _norm(module: nn.Module, side: Side) -> Loss:
    del module, side
    return Loss(_PER_CHANNEL, ("num_features",))


def _group_norm(module: nn.Module, side: Side) -> Loss:
    assert isinstance(module, nn.GroupNorm)
    del side
    return Loss(_PER_CHANNEL, ("num_channels",), blocks=module.num_groups)


def _layer_norm(module: nn.Module, side: Side) -> Loss | None:
    assert isinstance(module, nn.LayerNorm)
    del side
    if len(module.normalized_shape) != 1:
        return None
    return Loss(_PER_CHANNEL, ("normalized_shape",))


def _prelu(module: nn.Module, side: Side) -> Loss:
    assert isinstance(module, nn.PReLU)
    del side
    if module.num_parameters == 1:
        return Loss((), ())
    return Loss((Slot("weight", 0),), ("num_parameters",))


def _embedding(module: nn.Module, side: Side) -> Loss:
    del module, side
    return Loss((Slot("weight", 1),), ("embedding_dim",))


def _attention(module: nn.Module, side: Side) -> Loss | None:
    assert isinstance(module, nn.MultiheadAttention)
    del side
    if module.kdim != module.embed_dim or module.vdim != module.embed_dim:
        return None
    slots = (
        Slot("in_proj_weight", 0, copies=3),
        Slot("in_proj_weight", 1),
        Slot("in_proj_bias", 0, copies=3),
        Slot("out_proj.weight", 0),
        Slot("out_proj.weight", 1),
        Slot("out_proj.bias", 0),
        Slot("bias_k", 2),
        Slot("bias_v", 2),
    )
    own = ("embed_dim", "kdim", "vdim", "head_dim")
    inner = ("out_proj.in_features", "out_proj.out_features")
    return Loss(slots, (*own, *inner), blocks=module.num_heads)


_RULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, Side], Loss | None]], ...] = (
    ((nn.Linear,), _linear),
    (CONVOLUTIONS, _convolution),
    (TRANSPOSED, _transposed),
    ((*network.BATCH_NORMS, *INSTANCE_NORMS), _norm),
    ((nn.GroupNorm,), _group_norm),
    ((nn.LayerNorm,), _layer_norm),
    ((nn.PReLU,), _prelu),
    ((nn.Embedding,), _embedding),
    ((nn.MultiheadAttention,), _attention),
)
