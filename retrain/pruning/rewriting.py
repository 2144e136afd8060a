"""Calls that the dependency graph misreads, written as others that mean the same.

The graph tells what an operation does to channels from its name in autograd and from few shapes. It
takes a stack of a recurrent layer's last states for one thing whose layers and directions hang
together, a weighted sum written as a matrix product for an attention, and the flattening of a
sequence for nothing at all. While a model is traced, such calls are replaced by slower ones that
name each channel's way. A replacement must give the same values, else the call is left as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import _VF, overrides

from retrain.pruning import views

Runs: TypeAlias = "tuple[torch.Tensor | Runs, ...]"
"""What a stack was made of, along its first dimension, or its first two."""


class Rewriting(overrides.TorchFunctionMode):
    """Replaces calls inside the block, and notes the views and joins that were made.

    Attributes
    ----------
    views
        For each view's node of autograd the shapes before and after it.
    joins
        For each node that joins rows side by side, the first place and the width of each part that
        autograd follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.views: dict[Any, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.joins: dict[Any, tuple[views.Span, ...]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        named = kwargs or {}
        result = func(*args, **named)
        rule = _RULES.get(func)
        if rule is None or not args or named.keys() - _NAMES:
            return result
        other = rule(result, *args, **named)
        if isinstance(other, torch.Tensor) and not _same(other, result):
            other = None
        if other is None and rule is _view and _learns(result):
            other = self._noted(args[0], result.shape)
        if rule is _cat and _learns(result) and result.ndim == 2:
            self.joins[result.grad_fn] = _spans(result, *args, **named)
        return result if other is None else other

    def _noted(self, tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        # On something of its own, which has no other mapping between it and the view.
        view = (tensor * 1.0).reshape(shape)
        self.views[view.grad_fn] = (tuple(tensor.shape), tuple(shape))
        return view


def _spans(
    result: torch.Tensor, tensors: Sequence[torch.Tensor], dim: int = 0
) -> tuple[views.Span, ...]:
    if dim % result.ndim != 1:
        return ()
    ends = itertools.accumulate(tensor.shape[1] for tensor in tensors)
    spans = (
        views.Span(end - each.shape[1], each.shape[1])
        for each, end in zip(tensors, ends, strict=True)
    )
    return tuple(span for span, tensor in zip(spans, tensors, strict=True) if _learns(tensor))


def _same(other: torch.Tensor, result: torch.Tensor) -> bool:
    return other.shape == result.shape and torch.allclose(other, result, atol=1e-4, equal_nan=True)


def stacked(runs: Iterable[torch.Tensor | Runs]) -> torch.Tensor:
    """Stack tensors of one shape so that indexing the stack gives back the tensors themselves."""
    parts = tuple(runs)
    stack = torch.stack([stacked(part) if isinstance(part, tuple) else part for part in parts])
    return _tagged(stack, parts)


def _tagged(tensor: torch.Tensor, runs: Runs) -> torch.Tensor:
    tensor.coppice_runs = runs  # type: ignore[attr-defined]
    return tensor


def _runs(tensor: Any) -> Runs | None:
    return getattr(tensor, "coppice_runs", None)


def _pick(result: Any, tensor: torch.Tensor, key: Any) -> Any:
    """Index a stack, or rows: `hidden[-1]`, `hidden[0:2]`, `hidden[1, :, :4]`, `rows[:3]`."""
    head, *rest = key if isinstance(key, tuple) and key else (key,)
    runs = _runs(tensor)
    if runs is not None and isinstance(head, int | slice):
        found = runs[head]
        picked = stacked(found) if isinstance(found, tuple) else found
        if rest:
            picked = picked[tuple(rest) if isinstance(head, int) else (slice(None), *rest)]
        return picked
    # Of two dimensions the graph takes any slice for one of channels.
    if isinstance(head, slice) and head != slice(None) and _learns(tensor) and tensor.ndim == 2:
        places = torch.arange(len(tensor), device=tensor.device)[head]
        rows = tensor.index_select(0, places)
        return rows[(slice(None), *rest)] if rest else rows
    del result
    return None


def _learns(tensor: object) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.requires_grad


def _select(result: Any, tensor: torch.Tensor, dim: int, index: int) -> Any:
    return _pick(result, tensor, index) if dim == 0 else None


def _unbind(result: Any, tensor: torch.Tensor, dim: int = 0) -> Any:
    runs = _runs(tensor)
    if runs is None or dim != 0:
        return None
    parts = tuple(stacked(run) if isinstance(run, tuple) else run for run in runs)
    return iter(parts) if isinstance(result, Iterator) else parts


def _squeeze(result: Any, tensor: torch.Tensor, dim: int | None = None) -> Any:
    runs = _runs(tensor)
    return _pick(result, tensor, 0) if runs is not None and len(runs) == 1 and dim == 0 else None


def _turn(result: torch.Tensor, tensor: torch.Tensor, *dims: Any, **named: Any) -> None:
    """Remember of a stack whose first two dimensions changed places what it was made of."""
    del named
    order = dims[0] if len(dims) == 1 else dims
    runs = _runs(tensor)
    if runs is not None and tuple(dim % tensor.ndim for dim in order) in {
        (0, 1),
        (1, 0),
        (1, 0, 2),
    }:
        result.coppice_turned = runs  # type: ignore[attr-defined]


def _keep(result: torch.Tensor, tensor: torch.Tensor, *others: Any, **named: Any) -> None:
    del others, named
    for tag in ("coppice_runs", "coppice_turned"):
        if hasattr(tensor, tag) and result is not tensor:
            setattr(result, tag, getattr(tensor, tag))


def _view(result: torch.Tensor, tensor: torch.Tensor, *sizes: Any, **named: Any) -> Any:
    """View a stack: its runs side by side, or layers parted from directions."""
    del sizes, named
    before, after = tuple(tensor.shape), tuple(result.shape)
    turned, runs = getattr(tensor, "coppice_turned", None), _runs(tensor)
    if turned is not None and len(after) == 2 and after[0] == before[0]:
        return torch.cat([*turned], dim=1)
    if runs is not None and len(after) == 4 and after[2:] == before[1:]:
        size = after[1]
        return stacked(tuple(runs[at : at + size]) for at in range(0, len(runs), size))
    return None


def _product(result: torch.Tensor, first: Any, second: Any) -> torch.Tensor | None:
    """Write a product with a single row or column as the weighted sum that it is."""
    del result
    if not _learns(first) or not _learns(second) or not first.ndim == second.ndim >= 3:
        return None
    if first.shape[-2] == 1:
        return (first.transpose(-1, -2) * second).sum(dim=-2, keepdim=True)  # type: ignore[no-any-return]
    if second.shape[-1] == 1:
        return (first * second.transpose(-1, -2)).sum(dim=-1, keepdim=True)  # type: ignore[no-any-return]
    return None


def _einsum(result: torch.Tensor, equation: Any, *operands: Any) -> torch.Tensor | None:
    """Write a sum over one tensor, weighed by another that has no letters of its own."""
    del result
    given = operands[0] if len(operands) == 1 and not _learns(operands[0]) else operands
    text = equation.replace(" ", "") if isinstance(equation, str) else ""
    left, arrow, kept = text.partition("->")
    names = left.split(",")
    if len(names) != 2 or not arrow or "." in text or len(given) != 2:
        return None
    if any(len(set(name)) != len(name) for name in (*names, kept)):
        return None
    wide, narrow = sorted(
        zip(names, given, strict=True), key=lambda pair: -len(set(pair[0]) & set(kept))
    )
    return _weighed(*wide, *narrow, kept)


def _weighed(
    letters: str, wide: torch.Tensor, others: str, narrow: torch.Tensor, kept: str
) -> torch.Tensor | None:
    own = [place for place, name in enumerate(others) if name not in letters]
    if any(narrow.shape[place] != 1 or others[place] in kept for place in own):
        return None
    weights = narrow.sum(dim=own) if own else narrow
    left = [name for name in others if name in letters]
    weights = weights.permute([left.index(name) for name in letters if name in left])
    weights = weights[tuple(slice(None) if name in left else None for name in letters)]
    gone = [place for place, name in enumerate(letters) if name not in kept]
    product = wide * weights
    total = product.sum(dim=gone) if gone else product
    remaining = [name for name in letters if name in kept]
    return total.permute([remaining.index(name) for name in kept])


def _pad(
    result: Any, data: torch.Tensor, sizes: torch.Tensor, first: Any, value: Any, *_: Any
) -> Any:
    """Pad packed rows by looking each of them up, where torch writes slice after slice."""
    padded, lengths = result
    rows = torch.arange(int(sizes[0]))
    there = rows < sizes[:, None]
    index = torch.where(there, (sizes.cumsum(0) - sizes)[:, None] + rows, 0)
    mask = there.flatten()[:, None].to(data.device)
    flat = data.index_select(0, index.flatten().to(data.device)) * mask + value * ~mask
    other = flat.view(*there.shape, *data.shape[1:])
    other = other.transpose(0, 1) if first else other
    return (other, lengths) if _same(other, padded) else None


def _cat(result: Any, tensors: Any, dim: int = 0) -> torch.Tensor | None:
    """Name the last dimension of a sequence from behind: only so the graph sees its channels."""
    del result
    return torch.cat(tuple(tensors), dim=-1) if dim == 2 and tensors[0].ndim == 3 else None


def _chunk(result: Any, tensor: torch.Tensor, chunks: int, dim: int = 0) -> Any:
    del result
    return tensor.chunk(chunks, dim=-1) if dim == 2 and tensor.ndim == 3 else None


def _split(result: Any, tensor: torch.Tensor, size: Any, dim: int = 0) -> Any:
    del result
    return torch.split(tensor, size, dim=-1) if dim == 2 and tensor.ndim == 3 else None


_NAMES = {"dim", "index", "start_dim", "end_dim", "memory_format"}
"""Arguments that the rules know by name; with others a call is left as it is."""
_T = torch.Tensor
_RULES: dict[Any, Callable[..., Any]] = {
    _T.__getitem__: _pick,
    **dict.fromkeys((torch.select, _T.select), _select),
    **dict.fromkeys((torch.unbind, _T.unbind, _T.__iter__), _unbind),
    **dict.fromkeys((torch.squeeze, _T.squeeze), _squeeze),
    **dict.fromkeys(
        (torch.transpose, _T.transpose, torch.permute, _T.permute, torch.swapaxes, _T.swapaxes),
        _turn,
    ),
    **dict.fromkeys((_T.contiguous, torch.clone, _T.clone), _keep),
    **dict.fromkeys((torch.reshape, _T.reshape, _T.view, torch.flatten, _T.flatten), _view),
    **dict.fromkeys((torch.matmul, _T.matmul, _T.__matmul__, torch.bmm, _T.bmm), _product),
    torch.einsum: _einsum,
    _VF._pad_packed_sequence: _pad,  # noqa: SLF001 - torch calls it by no other name
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _cat),
    **dict.fromkeys((torch.chunk, _T.chunk), _chunk),
    **dict.fromkeys((torch.split, _T.split), _split),
}
