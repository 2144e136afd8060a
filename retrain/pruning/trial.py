"""Try a cut on copies before it is made: whether the model's own code can follow it.

A right cut answers like the uncut model with everything removed set to zero. That holds exactly,
except through norms over channels and the scale of attention, which see how many channels there
are; in the copies that are compared those are made blind to it. So a network that the tracing
misread (a joined dimension, a view with fixed sizes) is found out here and left whole, instead of
being cut wrong in silence.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from retrain import network
from retrain.pruning import groups, surgery

TOLERANCE = 1e-3
"""Largest difference over the largest answer: float32 noise is 1e-5, a misread cut is near 1."""

Kept = tuple[groups.CoupledGroup, tuple[int, ...]]


def workable(model: nn.Module, example: network.Tensors, kept: Sequence[Kept]) -> surgery.Surgery:
    """Return the record of all cuts that work, and of those that do not the reasons.

    All are tried at once; only if that fails, one by one.
    """
    every = surgery.plan(model, kept)
    if problem(model, example, every) is None:
        return every
    good: list[Kept] = []
    whole: list[surgery.Whole] = []
    for pair in kept:
        reason = problem(model, example, surgery.plan(model, [*good, pair]))
        if reason is None:
            good.append(pair)
        else:
            whole.append(surgery.Whole(pair[0].name, reason))
    return surgery.with_whole(surgery.plan(model, good), whole)


def problem(model: nn.Module, example: network.Tensors, record: surgery.Surgery) -> str | None:
    """Say what is wrong with a cut, or `None`. The model is not changed."""
    if not record.cuts:
        return None
    reference, cut = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    _mask(reference, record)
    surgery.replay(cut, record)
    _neutralise(reference, cut)
    # With gradients on, torch's encoder layer takes no fused path that would pass by the above.
    with torch.enable_grad():
        expected = network.call(reference.requires_grad_(), example).detach()
        try:
            found = network.call(cut.requires_grad_(), example).detach()
        except Exception as cause:  # noqa: BLE001 - the user's forward may raise anything
            return f"its own forward cannot follow the cut ({type(cause).__name__}: {cause})"
    if found.shape != expected.shape:
        return f"cut, the model answers with shape {tuple(found.shape)}"
    gap = float((found - expected).abs().max())
    if not gap <= TOLERANCE * max(float(expected.abs().max()), TOLERANCE):
        return "cut, it does not answer as with the same channels at zero (an operation mixes them)"
    return None


def _mask(model: nn.Module, record: surgery.Surgery) -> None:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, tensor in surgery.masked(tensors, record).items():
            tensors[name].copy_(tensor)


def _neutralise(reference: nn.Module, cut: nn.Module) -> None:
    """Take from both copies what depends on the number of channels."""
    for (name, before), (_, after) in zip(
        reference.named_modules(), cut.named_modules(), strict=True
    ):
        del name
        if isinstance(before, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            for module in (before, after):
                module.forward = _Affine(module)  # type: ignore[method-assign]
        if isinstance(before, nn.MultiheadAttention) and isinstance(after, nn.MultiheadAttention):
            _rescale(after, math.sqrt(after.head_dim / before.head_dim))


def _rescale(module: nn.MultiheadAttention, factor: float) -> None:
    # Attention divides by the square root of the head's width; the queries make up for it.
    with torch.no_grad():
        for tensor in (module.in_proj_weight, module.in_proj_bias):
            if tensor is not None:
                tensor[: module.embed_dim] *= factor


class _Affine:
    """A norm without the norm: its own scale and shift per channel only."""

    def __init__(self, module: nn.Module) -> None:
        self.weight, self.bias = module.weight, getattr(module, "bias", None)
        self.last = not isinstance(module, nn.GroupNorm)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        # Bounded, because a network without its norms may otherwise grow beyond all numbers.
        values = functional.hardtanh(values, -10.0, 10.0)
        shape = (-1,) if self.last else (1, -1, *(1 for _ in values.shape[2:]))
        if self.weight is not None:
            values = values * self.weight.reshape(shape)  # type: ignore[operator]
        return values if self.bias is None else values + self.bias.reshape(shape)
