"""Take a part out of a network for the length of one question, without touching a weight.

A part's answer is replaced on its way out, by a hook that is gone afterwards: by nothing (zeros),
or, where a part gives what it takes in shape, by its own input, as if it were not there. Channels
are taken out by calling the network with other tensors than its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from coppice import errors
from retrain import network
from retrain.pruning import groups, neurons, surgery
from retrain.pruning.criteria import magnitude

How: TypeAlias = Literal["zeros", "input"]
PARTS_OF_A_GROUP = 4
"""Channels of one coupled group are taken out a quarter at a time, weakest first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A module that can be taken out.

    Attributes
    ----------
    name
        As the network names it.
    kind
        `block` where it has parts of its own, else `layer`.
    what
        Its class.
    parameters
        How many numbers it holds.
    ways
        How it can be taken out.
    """

    name: str
    kind: Literal["block", "layer"]
    what: str
    parameters: int
    ways: tuple[How, ...]

    @property
    def depth(self) -> int:
        """How deep it is nested."""
        return self.name.count(".")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Quarter:
    """Channels of a coupled group that can be taken out together.

    Attributes
    ----------
    name
        The group's, and which quarter of its channels by magnitude this is.
    units
        How many channels.
    without
        The network, as if they were not there.
    """

    name: str
    units: int
    without: nn.Module


def parts(model: nn.Module, tensors: network.Tensors) -> list[Part]:
    """Find every block and layer with weights that a forward pass goes through.

    The whole network is none of them, nor are layers that only rescale (norms, single scales): to
    take those out is to take out what they rescale.

    Parameters
    ----------
    tensors
        A few rows of each input.
    """
    ways: dict[str, tuple[How, ...]] = {}
    hooks = [
        module.register_forward_hook(_Note(ways, name), with_kwargs=True)
        for name, module in _candidates(model)
    ]
    with network.hooked(hooks), torch.no_grad():
        network.call(model, tensors)
    return [
        Part(
            name=name,
            kind="block" if any(module.children()) else "layer",
            what=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            ways=ways[name],
        )
        for name, module in _candidates(model)
        if ways.get(name)
    ]


def _candidates(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        matrices = any(parameter.ndim > 1 for parameter in module.parameters())
        if name and matrices:
            yield name, module


class _Note:
    """A hook that only notes how a module could be taken out."""

    def __init__(self, ways: dict[str, tuple[How, ...]], name: str) -> None:
        self._ways, self._name = ways, name

    def __call__(self, module: nn.Module, taken: tuple[Any, ...], named: Any, given: Any) -> None:
        del module
        if not _tensors(given):
            return
        first = next(iter((*taken, *named.values())), None)
        self._ways[self._name] = ("zeros", "input") if _alike(first, given) else ("zeros",)


def _alike(taken: object, given: object) -> bool:
    return (
        isinstance(taken, torch.Tensor)
        and isinstance(given, torch.Tensor)
        and taken.shape == given.shape
        and taken.dtype == given.dtype
    )


def _tensors(given: object) -> list[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        return [given]
    parts_of = given if isinstance(given, tuple | list) else ()
    return [tensor for part in parts_of for tensor in _tensors(part)]


@contextlib.contextmanager
def without(model: nn.Module, name: str, how: How) -> Iterator[None]:
    """Take a part out inside the block."""
    hook = _zeros if how == "zeros" else _input
    handle = model.get_submodule(name).register_forward_hook(hook, with_kwargs=True)
    with network.hooked([handle]):
        yield


def _zeros(module: nn.Module, taken: tuple[Any, ...], named: Any, given: Any) -> Any:
    del module, taken, named
    return _zeroed(given)


def _zeroed(given: Any) -> Any:
    if isinstance(given, torch.Tensor):
        return torch.zeros_like(given)
    if isinstance(given, tuple | list):
        return type(given)(_zeroed(part) for part in given)
    return given


def _input(module: nn.Module, taken: tuple[Any, ...], named: Any, given: Any) -> Any:
    del module
    first = next(iter((*taken, *named.values())), None)
    # A module that is called more than once may keep the shape in one call only.
    return first if _alike(first, given) else _zeroed(given)


class _With(nn.Module):
    """A network that is called with other tensors than its own."""

    def __init__(self, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._model, self._tensors = model, tensors
        self.training = model.training

    def forward(self, *taken: torch.Tensor, **named: torch.Tensor) -> Any:
        """Answer as the network would."""
        return torch.func.functional_call(self._model, self._tensors, taken, named)


def quarters(model: nn.Module, tensors: network.Tensors) -> list[Quarter]:
    """Divide the channels of every coupled group into quarters by magnitude, weakest first.

    Nothing is found where the network's channels cannot be followed.
    """
    try:
        coupled = neurons.trace(model, tensors).groups
    except errors.PruningError:
        return []
    scores = magnitude.norms(coupled, dict(model.named_parameters()))
    return [
        quarter
        for group, score in zip(coupled, scores, strict=True)
        for quarter in _quarters(model, group, score)
    ]


def _quarters(
    model: nn.Module, group: groups.CoupledGroup, score: torch.Tensor
) -> Iterator[Quarter]:
    ranked: Sequence[int] = score.argsort(stable=True).tolist()
    bounds = [len(ranked) * place // PARTS_OF_A_GROUP for place in range(PARTS_OF_A_GROUP + 1)]
    for place, (start, end) in enumerate(itertools.pairwise(bounds), start=1):
        if start < end:
            gone = set(ranked[start:end])
            kept = tuple(unit for unit in range(group.units) if unit not in gone)
            yield Quarter(
                name=f"{group.name}, channels {place}/{PARTS_OF_A_GROUP} by magnitude",
                units=end - start,
                without=_With(model, _masked(model, group, kept)),
            )


def _masked(
    model: nn.Module, group: groups.CoupledGroup, kept: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    record = surgery.plan(model, [(group, kept)])
    touched = {cut.tensor for cut in record.cuts}
    return surgery.masked({name: every[name] for name in touched}, record)
