"""Attention: what stands for it while tracing, and its heads and head channels as groups.

What an attention reads and gives is followed by tracing, like any layer's channels. Inside nothing
has to be traced: a head owns its rows of the query, key and value projections and its columns of
the output projection; a query channel goes with the key channel it is multiplied with, and a value
channel with the column that reads it. Removing any of them is exact, because softmax sees the same
products and the scale stays that of the uncut head.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal, TypeAlias, cast

import torch
from torch import nn

from retrain import network
from retrain.pruning import groups, layers, narrow, standins

Inside: TypeAlias = Literal["heads", "dims"]
"""What goes inside: whole heads, or channels of every head."""
TOLERANCE = 1e-4
"""Largest difference of an answer that replacing an attention may make, over the largest answer."""


def widen(model: nn.Module, example: network.Tensors) -> tuple[str, ...]:
    """Replace every attention of a model by one with free widths, in place; return their names.

    One that the model's own forward cannot do without stays as it is: tried on a copy first.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention) and narrow.reason(module) is None
    ]
    done = tuple(name for name in names if name and _replaceable(model, name, example))
    for name in done:
        narrow.replace(model, name)
    return done


def _replaceable(model: nn.Module, name: str, example: network.Tensors) -> bool:
    before, after = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    narrow.replace(after, name)
    with torch.no_grad():
        expected = network.call(before, example)
        try:
            found = network.call(after, example)
        except Exception:  # noqa: BLE001 - the user's forward may look into its attention
            return False
    bound = TOLERANCE * max(float(expected.abs().max()), TOLERANCE)
    return found.shape == expected.shape and float((found - expected).abs().max()) <= bound


def inside(model: nn.Module, kind: Inside) -> Iterator[groups.CoupledGroup]:
    """Yield the groups inside every attention with free widths."""
    for name, module in model.named_modules():
        if isinstance(module, narrow.NarrowAttention) and name:
            yield from _heads(name, module) if kind == "heads" else _dims(name, module)


def _heads(name: str, module: narrow.NarrowAttention) -> Iterator[groups.CoupledGroup]:
    heads = range(module.num_heads)
    products = tuple(head for head in heads for _ in range(module.head_dim))
    values = tuple(head for head in heads for _ in range(module.value_dim))
    axes = (
        *_projected(f"{name}.query", module.query, products),
        *_projected(f"{name}.key", module.key, products),
        *_projected(f"{name}.value", module.value, values),
        *_read(f"{name}.out_proj", values),
        groups.Axis(f"{name}.num_heads", None, tuple(heads)),
    )
    # A head that is wide enough is aligned by itself.
    yield groups.CoupledGroup(f"{name}.heads", module.num_heads, axes, width=module.head_dim)


def _dims(name: str, module: narrow.NarrowAttention) -> Iterator[groups.CoupledGroup]:
    products = tuple(range(module.num_heads * module.head_dim))
    values = tuple(range(module.num_heads * module.value_dim))
    query = (
        *_projected(f"{name}.query", module.query, products),
        *_projected(f"{name}.key", module.key, products),
        groups.Axis(f"{name}.head_dim", None, products),
    )
    value = (
        *_projected(f"{name}.value", module.value, values),
        *_read(f"{name}.out_proj", values),
        groups.Axis(f"{name}.value_dim", None, values),
    )
    for group, axes, owners in (
        (f"{name}.query", query, products),
        (f"{name}.value", value, values),
    ):
        yield groups.CoupledGroup(group, len(owners), axes, blocks=module.num_heads)


def _projected(path: str, layer: nn.Linear, owners: tuple[int, ...]) -> Iterator[groups.Axis]:
    yield groups.Axis(f"{path}.weight", 0, owners)
    if layer.bias is not None:
        yield groups.Axis(f"{path}.bias", 0, owners)
    yield groups.Axis(f"{path}.out_features", None, owners)


def _read(path: str, owners: tuple[int, ...]) -> Iterator[groups.Axis]:
    yield groups.Axis(f"{path}.weight", 1, owners)
    yield groups.Axis(f"{path}.in_features", None, owners)


class Attention(standins.StandIn):
    """Stands for a NarrowAttention: a linear layer for each of its three inputs, summed up.

    The first gives what the output projection gives; the other two only read.
    """

    def __init__(self, real: nn.Module) -> None:
        super().__init__(real)
        assert isinstance(real, narrow.NarrowAttention)
        width = real.out_proj.out_features
        self.reads = nn.ModuleList(
            standins.linear(layer.in_features, width, layer.weight)
            for layer in (real.query, real.key, real.value)
        )

    def parts(self) -> Iterator[standins.Part]:
        """Yield a part for each input."""
        gives = layers.Loss(
            (layers.Slot("out_proj.weight", 0), layers.Slot("out_proj.bias", 0)),
            ("out_proj.out_features", "embed_dim"),
        )
        for name, reader in zip(("query", "key", "value"), self.reads, strict=True):
            reads = layers.Loss((layers.Slot(f"{name}.weight", 1),), (f"{name}.in_features",))
            out = gives if name == "query" else layers.Loss((), ())
            yield standins.Part(cast("nn.Linear", reader), out, reads)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002 - torch's arguments
        **others: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Give answers and weights in the shapes of the real attention."""
        del key_padding_mask, others
        real = cast("narrow.NarrowAttention", self.held[0])
        steps = 1 if real.batch_first and query.ndim == 3 else 0
        asked, keys, values = (
            reader(each) for reader, each in zip(self.reads, (query, key, value), strict=True)
        )
        answers = asked + (keys + values).mean(dim=steps, keepdim=True)
        if not need_weights:
            return answers, None
        shape = [*query.shape[:-1], key.shape[steps]]
        if not real.batch_first and query.ndim == 3:
            shape = [shape[1], shape[0], shape[2]]
        return answers, torch.full(shape, 1.0 / shape[-1])


STAND_INS: standins.Kinds = (((narrow.NarrowAttention,), Attention),)
