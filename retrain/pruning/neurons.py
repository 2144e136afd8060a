"""Find the coupled groups of a network, by following one forward pass of a copy.

The dependency graph (`graph`) says which channels of which layers hang together; what a layer then
loses is our own table (`layers`, and the stand-ins' parts), and the cut our own (`surgery`).
"""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrize

from coppice import errors
from retrain import network
from retrain.pruning import (
    attention,
    bags,
    graph,
    groups,
    layers,
    recurrent,
    standins,
    surgery,
)

CLOSURE_LIMIT = 4096
"""Widest layer whose channels are followed one by one through a split."""
STAND_INS: standins.Kinds = (*recurrent.STAND_INS, *attention.STAND_INS, *bags.STAND_INS)
"""What is traced instead of layers that the graph builder cannot follow."""


class Coupling(NamedTuple):
    """What can be removed from a network, and what cannot, with the reason."""

    groups: tuple[groups.CoupledGroup, ...]
    whole: tuple[surgery.Whole, ...]


class _Stays(Exception):
    """Why a group has to stay whole."""


def trace(model: nn.Module, tensors: network.Tensors) -> Coupling:
    """Find every coupled group of a model by following one forward pass; the model is not changed.

    Parameters
    ----------
    tensors
        A few rows of each input.

    Raises
    ------
    PruningError
        The network holds something that cannot be cut; the message says what to do.
    """
    refuse(model)
    probe = _Probe(model, tensors)
    pieces: list[recurrent.Piece] = []
    stuck: list[recurrent.Stuck] = []
    for items in graph.coupled(probe.graph, layers.ROOTS):
        root = probe.names[id(items[0].dep.target.module)]
        try:
            pieces.append(probe.piece(root, items))
        except _Stays as reason:
            several = len(items[0].idxs) > 1
            tied = frozenset(name for name, part, _ in probe.runs(items) if several)
            stuck.append(recurrent.Stuck(surgery.Whole(root, str(reason)), tied))
    if not pieces and not stuck:
        message = (
            "no layer was found on the way from the inputs to the answer; the forward must be made "
            "of torch operations that autograd can follow, without numpy or detach()"
        )
        raise errors.PruningError(message)
    return Coupling(*recurrent.join([*pieces, *probe.unread(pieces)], stuck))


def refuse(model: nn.Module) -> None:
    """Refuse a network with parts that no cut can follow.

    Raises
    ------
    PruningError
        It has weight parametrizations.
    """
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            _refuse(
                name,
                module,
                "its weights are computed (weight or spectral norm); call "
                "torch.nn.utils.parametrize.remove_parametrizations in build_model()",
            )
        for hook in module._forward_pre_hooks.values():  # noqa: SLF001 - torch offers no other way to see a weight norm of the old kind
            undo = _OLD_NORMS.get(type(hook).__name__)
            if undo is not None:
                reason = f"it has a norm of its weights of the old kind; call {undo}"
                _refuse(name, module, f"{reason} in build_model()")


_OLD_NORMS = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm",
}


def _refuse(name: str, module: object, reason: str) -> None:
    message = f"layer {name!r} ({type(module).__name__}) cannot be pruned: {reason}"
    raise errors.PruningError(message)


class _Probe:
    """A traced copy of a model, with stand-ins, and the names of all that is in it."""

    def __init__(self, model: nn.Module, tensors: network.Tensors) -> None:
        self.real = model
        self.model = copy.deepcopy(model).eval()
        self.parts: dict[int, tuple[str, standins.Part]] = {
            id(part.layer): (name, part)
            for name, placed in standins.install(self.model, STAND_INS).items()
            for part in placed.parts()
        }
        standins.familiarise(self.model)
        for parameter in self.model.parameters():
            # The graph follows autograd: what does not need a gradient it would not see at all.
            parameter.requires_grad_(parameter.is_floating_point())
        self.names = {id(module): name for name, module in self.model.named_modules()}
        self.names |= {id(parameter): name for name, parameter in self.model.named_parameters()}
        self.names |= {inner: name for inner, (name, _) in self.parts.items()}
        self.tied = set(_tied(model))
        self.inputs = {name: _traceable(tensor) for name, tensor in tensors.items()}
        self.graph = graph.build(self.model, self.inputs)

    def piece(self, root: str, items: Any) -> recurrent.Piece:
        """Translate a group of the graph into units and axes, and the runs that they make up.

        Raises
        ------
        _Stays
            It has to stay whole.
        """
        if len(items[0].idxs) == 1:
            reason = "it has one channel"
            raise _Stays(reason)
        attends = any(isinstance(i.dep.target.module, nn.MultiheadAttention) for i in items)
        count = len(items[0].idxs)
        losses = [p for item in items if (p := self._loss(item, count, attended=attends))]
        owners = self._units(items, losses)
        axes = tuple(axis for item, loss in losses for axis in self._axes(item, loss, owners))
        count = max(owners) + 1
        if count == 1:
            reason = "all its channels hang together"
            raise _Stays(reason)
        width = math.lcm(*(loss.blocks for _, loss in losses if loss.tied))
        blocks = math.lcm(*(loss.blocks for _, loss in losses if not loss.tied))
        if width % blocks == 0:
            # Every unit has a channel in each run already.
            blocks = 1
        if blocks > 1 and owners != tuple(range(count)):
            reason = "its heads or norm groups are coupled across each other"
            raise _Stays(reason)
        runs = tuple(
            recurrent.Run(name, part.counted, self._run(item, part, owners))
            for name, part, item in self.runs(items)
        )
        return recurrent.Piece(groups.CoupledGroup(root, count, axes, blocks, width), runs)

    def runs(self, items: Any) -> Iterator[tuple[str, standins.Part, Any]]:
        """Yield the parts with a count whose outputs a group holds, with their layers' names."""
        for item in items:
            found = self.parts.get(id(item.dep.target.module))
            if found is not None and found[1].counted and graph.side(item) == "out":
                yield *found, item

    def unread(self, pieces: Sequence[recurrent.Piece]) -> Iterator[recurrent.Piece]:
        """Yield the runs of layers found that nothing reads, such as a direction left aside.

        They have no influence, but have to shrink with the runs that have some.
        """
        seen = collections.Counter(run.layer for piece in pieces for run in piece.runs)
        traced = {id(module) for module in self.graph.module2node}
        for inner, (name, part) in self.parts.items():
            if seen[name] and part.counted and inner not in traced:
                owners = tuple(range(part.layer.out_features))
                assert isinstance(part.out, layers.Loss)
                axes = tuple(self._cut(part.out, f"{name}.", owners))
                group = groups.CoupledGroup(name, len(owners), axes)
                yield recurrent.Piece(group, (recurrent.Run(name, part.counted, owners),))

    def _run(self, item: Any, part: standins.Part, owners: tuple[int, ...]) -> tuple[int, ...]:
        assert isinstance(part.out, layers.Loss)
        return self._owners(item, part.out, owners, f"{self.names[id(part.layer)]}.")

    def _loss(self, item: Any, count: int, *, attended: bool) -> tuple[Any, layers.Loss] | None:
        node, module = item.dep.target, item.dep.target.module
        side = graph.side(item)
        if any(module is tensor for tensor in self.inputs.values()):
            raise _Stays("it is added to, or joined with, an input of the model")
        if side == "out" and graph.answers(item):
            raise _Stays("it gives the model's answer")
        if isinstance(module, nn.Parameter):
            return item, self._bare(module, node.pruning_dim)
        counted = self.graph.get_out_channels if side == "out" else self.graph.get_in_channels
        if count > 1 and counted(node) == 1:
            # One channel beside many: a weight that all of them are multiplied with, or a layer
            # that reads the one number into which they were summed up.
            return None
        if id(module) in self.parts:
            _, part = self.parts[id(module)]
            found = part.out if side == "out" else part.into
            if isinstance(found, str):
                raise _Stays(found)
            return (item, found) if found.slots or found.attributes else None
        if id(module) in self.names:
            loss = layers.loss(module, side)
            if loss is None:
                kind = type(module).__name__
                reason = f"{self.names[id(module)]!r} ({kind}) cannot be cut on that side"
                raise _Stays(reason)
            return item, loss
        if not attended and graph.mixes(item):
            raise _Stays("it feeds an attention written by hand; use nn.MultiheadAttention")
        return None

    def _bare(self, parameter: nn.Parameter, dim: int) -> layers.Loss:
        """Return what goes with a channel of a parameter that the graph knows no layer for."""
        path = self.names[id(parameter)]
        owner = path.rpartition(".")[0]
        # RMSNorm checks its own shape; to the graph it is a product with a parameter.
        counted = isinstance(self.real.get_submodule(owner), nn.RMSNorm)
        attributes = (f"{owner}.normalized_shape",) if counted else ()
        return layers.Loss((layers.Slot(path, dim % parameter.ndim),), attributes)

    def _units(self, items: Any, losses: list[tuple[Any, layers.Loss]]) -> tuple[int, ...]:
        """Return for each channel of the root the unit that it belongs to."""
        root = items[0]
        count = len(root.idxs)
        classes: list[list[int]] = []
        for item, loss in losses:
            if loss.tied:
                classes += self._runs(item, loss.blocks, count)
        if any(graph.splits(item) for item in items):
            if count > CLOSURE_LIMIT:
                reason = f"it is split, and wider than {CLOSURE_LIMIT} channels"
                raise _Stays(reason)
            classes += [self._closure(root, channel) for channel in range(count)]
        return groups.merged(classes, count)

    def _runs(self, item: Any, blocks: int, count: int) -> list[list[int]]:
        if list(item.idxs) != list(range(count)) or list(item.root_idxs) != list(range(count)):
            name = self.names[id(item.dep.target.module)]
            reason = f"it is only a part of what the grouped convolution {name!r} reads"
            raise _Stays(reason)
        size = count // blocks
        return [list(range(place, count, size)) for place in range(size)]

    def _closure(self, root: Any, channel: int) -> list[int]:
        # A split that is joined again (a gated unit) couples channels of the root to each other.
        together = self.graph.get_pruning_group(root.dep.target.module, root.dep.handler, [channel])
        return [int(index) for index in together[0].idxs]

    def _axes(self, item: Any, loss: layers.Loss, owners: tuple[int, ...]) -> Iterator[groups.Axis]:
        module = item.dep.target.module
        prefix = "" if isinstance(module, nn.Parameter) else self.names[id(module)] + "."
        yield from self._cut(loss, prefix, self._owners(item, loss, owners, prefix))

    def _cut(
        self, loss: layers.Loss, prefix: str, channels: tuple[int, ...]
    ) -> Iterator[groups.Axis]:
        for slot in loss.slots:
            path = prefix + slot.tensor
            if _tensor(self.real, path) is None:
                continue
            if path in self.tied:
                reason = f"{path!r} is shared with another layer"
                raise _Stays(reason)
            run = channels[: len(channels) // slot.blocks] * slot.copies
            yield groups.Axis(path, slot.dim, run)
        for name in loss.attributes:
            yield groups.Axis(prefix + name, None, channels)

    def _owners(
        self, item: Any, loss: layers.Loss, owners: tuple[int, ...], prefix: str
    ) -> tuple[int, ...]:
        """Return for each channel of the item's side the unit that owns it."""
        channels = [groups.NOBODY] * self._width(loss, prefix)
        for index, root in zip(item.idxs, item.root_idxs, strict=True):
            if root is None or not 0 <= index < len(channels):
                raise _Stays("its channels cannot be followed through the forward pass")
            channels[index] = owners[root]
        return tuple(channels)

    def _width(self, loss: layers.Loss, prefix: str) -> int:
        for slot in loss.slots:
            tensor = _tensor(self.real, prefix + slot.tensor)
            if tensor is not None:
                return tensor.shape[slot.dim] // slot.copies * slot.blocks
        for name in loss.attributes:
            count = getattr(self.real.get_submodule(prefix[:-1]), name)
            return int(count[-1] if isinstance(count, tuple) else count)
        return 0


def _tensor(model: nn.Module, path: str) -> torch.Tensor | None:
    owner, _, name = path.rpartition(".")
    tensor: torch.Tensor | None = getattr(model.get_submodule(owner), name, None)
    return tensor


def _tied(model: nn.Module) -> Iterator[str]:
    """Yield the names of parameters that more than one layer uses as its own."""
    users: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False):
            users.setdefault(id(parameter), []).append(name)
    for names in users.values():
        if len(names) > 1:
            yield from names


def _traceable(tensor: torch.Tensor) -> torch.Tensor:
    """Make an input visible to the graph, so that what is coupled to it is found.

    Rows of vectors and images only: of a sequence the graph would take the wrong dimension.
    """
    if not tensor.is_floating_point() or tensor.ndim in {1, 3}:
        return tensor
    return nn.Parameter(tensor.clone())
