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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn, overrides
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
    _rescale_attention(reference, cut)
    with torch.no_grad(), _WithoutNorms():
        try:
            expected = network.call(reference, example)
            found = network.call(cut, example)
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


def _rescale_attention(reference: nn.Module, cut: nn.Module) -> None:
    """Let an attention divide by the root of the uncut head's width; the queries make up for it."""
    for before, after in zip(reference.modules(), cut.modules(), strict=True):
        if isinstance(before, nn.MultiheadAttention) and isinstance(after, nn.MultiheadAttention):
            factor = math.sqrt(after.head_dim / before.head_dim)
            with torch.no_grad():
                for tensor in (after.in_proj_weight, after.in_proj_bias):
                    if tensor is not None:
                        tensor[: after.embed_dim] *= factor


class _WithoutNorms(overrides.TorchFunctionMode):
    """Leaves of a norm over channels its scale and shift alone, whoever calls it, and how."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        rule = _NORMS.get(func)
        return func(*args, **(kwargs or {})) if rule is None else rule(*args, **(kwargs or {}))


# By the names of torch's arguments, which may be given by name.
def _layer_norm(
    input: torch.Tensor,  # noqa: A002
    normalized_shape: object,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *others: object,
    **named: object,
) -> torch.Tensor:
    del normalized_shape, others, named
    return _affine(input, weight, bias)


def _rms_norm(
    input: torch.Tensor,  # noqa: A002
    normalized_shape: object,
    weight: torch.Tensor | None = None,
    eps: object = None,
) -> torch.Tensor:
    del normalized_shape, eps
    return _affine(input, weight, None)


def _group_norm(
    input: torch.Tensor,  # noqa: A002
    num_groups: object,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    *others: object,
    **named: object,
) -> torch.Tensor:
    del num_groups, others, named
    last = input.movedim(1, -1)
    return _affine(last, weight, bias).movedim(-1, 1)


def _affine(
    values: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    # Bounded, because a network without its norms may otherwise grow beyond all numbers.
    values = functional.hardtanh(values, -10.0, 10.0)
    values = values if weight is None else values * weight
    return values if bias is None else values + bias


_NORMS: Mapping[Any, Callable[..., torch.Tensor]] = {
    **dict.fromkeys((functional.layer_norm, torch.layer_norm), _layer_norm),
    **dict.fromkeys((functional.rms_norm, torch.rms_norm), _rms_norm),
    **dict.fromkeys((functional.group_norm, torch.group_norm), _group_norm),
}
