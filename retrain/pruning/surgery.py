"""The record of a cut: what was kept of which tensor, replayable on the user's model factory.

Cutting and replaying are one function, so a version rebuilt from its record and its weights answers
bit for bit like the one that was cut. The record names tensors and attributes of plain torch
modules and nothing of the library that found the coupling; it is JSON, never a pickle.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec
import torch
from torch import nn

from coppice import errors
from retrain.pruning import groups, narrow

SCHEMA = 2
READABLE = (1, 2)
"""Schemas of records that are read: the first knew cuts of channels only."""


class Selection(msgspec.Struct, frozen=True):
    """Indices that stay, of `size`. Coupled tensors share one."""

    size: int
    keep: tuple[int, ...]


class Cut(msgspec.Struct, frozen=True):
    """One dimension of one tensor, and the number of the selection that stays of it."""

    tensor: str
    dim: int
    selection: int


class Attribute(msgspec.Struct, frozen=True):
    """A module's own count of channels, before and after."""

    module: str
    name: str
    before: int | tuple[int, ...]
    after: int | tuple[int, ...]


class Removed(msgspec.Struct, frozen=True):
    """A module that was left out, such as a residual block, and what the model goes on with."""

    module: str
    leaves: groups.Leaves = "input"


class Swapped(msgspec.Struct, frozen=True):
    """An nn.MultiheadAttention that was replaced by a `NarrowAttention` before it was cut."""

    module: str


class Masked(msgspec.Struct, frozen=True):
    """For the reader: a tensor some of whose weights are zero and stay so.

    The zeros themselves lie in the weights; `pattern` is `unstructured` or such as `2:4`.
    """

    tensor: str
    kept: int
    size: int
    pattern: str


class GroupRecord(msgspec.Struct, frozen=True):
    """For the reader: how many channels of a coupled group there were, and how many stay."""

    name: str
    before: int
    after: int


class Whole(msgspec.Struct, frozen=True):
    """For the reader: a layer that could have been cut but was left, and why."""

    name: str
    reason: str


class Surgery(msgspec.Struct, frozen=True, kw_only=True):
    """All that was cut, in the numbering of the uncut model; the order of cuts does not matter."""

    schema: int = SCHEMA
    removed: tuple[Removed, ...] = ()
    swapped: tuple[Swapped, ...] = ()
    selections: tuple[Selection, ...] = ()
    cuts: tuple[Cut, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    whole: tuple[Whole, ...] = ()
    masks: tuple[Masked, ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Whether the model stays as it was."""
        return not (self.removed or self.cuts or self.masks)

    def to_json(self) -> str:
        """Write the record as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Surgery:
        """Read what `to_json` wrote.

        >>> Surgery.from_json(Surgery().to_json()) == Surgery()
        True

        Raises
        ------
        PruningError
            The text is not such a record, or one of a schema that this version does not know.
        """
        try:
            record = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as cause:
            message = f"the surgery record cannot be read: {cause}"
            raise errors.PruningError(message) from cause
        if record.schema not in READABLE:
            known = " and ".join(map(str, READABLE))
            message = f"the surgery record has schema {record.schema}, this version reads {known}"
            raise errors.PruningError(message)
        return record


def plan(model: nn.Module, kept: Sequence[tuple[groups.CoupledGroup, tuple[int, ...]]]) -> Surgery:
    """Turn the units that stay of each group into a record, without touching the model.

    A dimension that several groups share (a concatenation's consumer) loses what each of them
    removes.
    """
    sizes: dict[tuple[str, int | None], int] = {}
    removed: dict[tuple[str, int | None], set[int]] = collections.defaultdict(set)
    for group, units in kept:
        gone = set(range(group.units)) - set(units)
        for axis in group.axes if gone else ():
            key = (axis.path, axis.dim)
            sizes[key] = len(axis.owners)
            removed[key] |= {index for index, unit in enumerate(axis.owners) if unit in gone}
    selections: dict[Selection, int] = {}
    cuts, attributes = [], []
    for (path, dim), gone in removed.items():
        size = sizes[path, dim]
        if dim is None:
            attributes.append(_attribute(model, path, size - len(gone)))
        elif gone:
            keep = tuple(index for index in range(size) if index not in gone)
            number = selections.setdefault(Selection(size, keep), len(selections))
            cuts.append(Cut(path, dim, number))
    # Groups come as they were found; people look for them from the input to the output.
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    in_order = sorted(kept, key=lambda each: places.get(each[0].name, -1))
    return Surgery(
        selections=tuple(selections),
        cuts=tuple(cuts),
        attributes=tuple(attributes),
        groups=tuple(
            GroupRecord(group.name, group.units * group.width, len(units) * group.width)
            for group, units in in_order
        ),
    )


def _attribute(model: nn.Module, path: str, count: int) -> Attribute:
    owner, _, name = path.rpartition(".")
    module = model.get_submodule(owner)
    before = getattr(module, name)
    after: int | tuple[int, ...] = count
    if name == "normalized_shape":
        after = (*before[:-1], count)
    if name in {"head_dim", "value_dim"}:
        after = count // int(module.num_heads)  # type: ignore[arg-type]
    return Attribute(owner, name, before, after)


def replay(model: nn.Module, surgery: Surgery) -> nn.Module:
    """Cut a fresh model from the user's factory as the record says, in place, and return it.

    Parameters keep their `requires_grad` and lose their gradients; an optimizer made before holds
    the old ones and has to be made again.

    Raises
    ------
    PruningError
        The model is not the one that was cut; the message names what differs, and nothing has been
        cut.
    """
    for path in [gone.module for gone in surgery.removed] + [s.module for s in surgery.swapped]:
        _submodule(model, path)
    swap(model, surgery)
    for cut in surgery.cuts:
        _check_cut(model, cut, surgery.selections[cut.selection])
    for attribute in surgery.attributes:
        _check_attribute(model, attribute)
    for gone in surgery.removed:
        leave_out(model, gone.module, gone.leaves)
    for cut in surgery.cuts:
        _cut(model, cut.tensor, cut.dim, surgery.selections[cut.selection].keep)
    for attribute in surgery.attributes:
        setattr(model.get_submodule(attribute.module), attribute.name, attribute.after)
    return model


def swap(model: nn.Module, surgery: Surgery) -> nn.Module:
    """Replace what a record says was replaced before the cuts, in place, and return the model.

    It answers as before; its tensors then have the names that the record knows.

    Raises
    ------
    PruningError
        What should be replaced is no attention.
    """
    for swapped in surgery.swapped:
        found = model.get_submodule(swapped.module)
        if not isinstance(found, nn.MultiheadAttention):
            _differs(swapped.module, f"it is {type(found).__name__}, not MultiheadAttention")
        narrow.replace(model, swapped.module)
    return model


class Bypass(nn.Module):
    """Stands where a module was removed, and gives on what it reads."""

    def forward(self, values: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        """Return the first argument; whatever else the module took does not matter any more."""
        del others, named
        return values


class Nothing(nn.Module):
    """Stands where a residual branch was removed, and gives zeros to add."""

    def forward(self, values: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        """Return zeros in the shape of the first argument."""
        del others, named
        return torch.zeros_like(values)


WAYS_ON = (Bypass, Nothing)
"""What stands where a module was left out."""


def leave_out(model: nn.Module, path: str, leaves: groups.Leaves) -> None:
    """Put a way on in the place of a module."""
    gone = model.get_submodule(path)
    way: Any = Bypass() if leaves == "input" else Nothing()
    if isinstance(gone, nn.TransformerEncoderLayer):
        # torch's encoder asks its first layer for this, and would hand its weights to a fused path.
        way.self_attn = types.SimpleNamespace(batch_first=gone.self_attn.batch_first)
    model.set_submodule(path, way)
    narrow.keep_padded(model, path)


def compose(first: Surgery, second: Surgery) -> Surgery:
    """Return the one record of two cuts, the second made on what the first has left.

    The second is in the numbering of the model that the first gave; the result is in that of the
    uncut one, so that it is replayed at once. What lies inside a module that was removed later is
    forgotten.
    """
    removed = {gone.module: gone for gone in (*first.removed, *second.removed)}

    def stays(path: str) -> bool:
        return path not in removed and not inside(path)

    def inside(path: str) -> bool:
        return any(path.startswith(f"{gone}.") for gone in removed)

    kept = {(cut.tensor, cut.dim): first.selections[cut.selection] for cut in first.cuts}
    for cut in second.cuts:
        later = second.selections[cut.selection]
        earlier = kept.get((cut.tensor, cut.dim))
        if earlier is not None:
            later = Selection(earlier.size, tuple(earlier.keep[index] for index in later.keep))
        kept[cut.tensor, cut.dim] = later
    numbers: dict[Selection, int] = {}
    cuts = tuple(
        Cut(tensor, dim, numbers.setdefault(selection, len(numbers)))
        for (tensor, dim), selection in kept.items()
        if stays(tensor)
    )
    attributes = {(each.module, each.name): each for each in first.attributes}
    for each in second.attributes:
        before = attributes.get((each.module, each.name), each).before
        attributes[each.module, each.name] = msgspec.structs.replace(each, before=before)
    groups_ = {group.name: group for group in first.groups}
    for group in second.groups:
        before_cut = groups_.get(group.name, group).before
        groups_[group.name] = GroupRecord(group.name, before_cut, group.after)
    whole = {each.name: each for each in (*first.whole, *second.whole)}
    swapped = {each.module: each for each in (*first.swapped, *second.swapped)}
    masks = {mask.tensor: mask for mask in (*first.masks, *second.masks)}
    return Surgery(
        removed=tuple(gone for gone in removed.values() if not inside(gone.module)),
        swapped=tuple(each for each in swapped.values() if stays(each.module)),
        selections=tuple(numbers),
        cuts=cuts,
        attributes=tuple(each for each in attributes.values() if stays(each.module)),
        groups=tuple(group for group in groups_.values() if stays(group.name)),
        whole=tuple(each for each in whole.values() if stays(each.name)),
        masks=tuple(mask for mask in masks.values() if stays(mask.tensor)),
    )


def _cut(model: nn.Module, path: str, dim: int, keep: tuple[int, ...]) -> None:
    owner, _, name = path.rpartition(".")
    module = model.get_submodule(owner)
    tensor = getattr(module, name)
    smaller = tensor.detach().index_select(dim, torch.tensor(keep, device=tensor.device))
    if isinstance(tensor, nn.Parameter):
        smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    setattr(module, name, smaller)


def _check_cut(model: nn.Module, cut: Cut, selection: Selection) -> None:
    owner, _, name = cut.tensor.rpartition(".")
    tensor = getattr(_submodule(model, owner), name, None)
    if not isinstance(tensor, torch.Tensor):
        _differs(owner, f"it has no tensor {name!r}")
    elif tensor.ndim <= cut.dim or tensor.shape[cut.dim] != selection.size:
        shape = tuple(tensor.shape)
        _differs(owner, f"{name} has shape {shape}, expected {selection.size} along {cut.dim}")


def _check_attribute(model: nn.Module, attribute: Attribute) -> None:
    found = getattr(_submodule(model, attribute.module), attribute.name, None)
    if found != attribute.before:
        _differs(attribute.module, f"{attribute.name} is {found}, expected {attribute.before}")


def _submodule(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        _differs(path, "the model has no such module")


def _differs(module: str, how: str) -> NoReturn:
    message = (
        f"build_model() does not give the model that was pruned: at {module or 'the model'!r}, "
        f"{how}; restore the factory, or prune again"
    )
    raise errors.PruningError(message)


def masked(tensors: Mapping[str, torch.Tensor], surgery: Surgery) -> dict[str, torch.Tensor]:
    """Return copies of tensors in which everything that the record removes is zero."""
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for cut in surgery.cuts:
        selection = surgery.selections[cut.selection]
        gone = sorted(set(range(selection.size)) - set(selection.keep))
        copies[cut.tensor].index_fill_(cut.dim, torch.tensor(gone), 0)
    return copies


def with_whole(surgery: Surgery, whole: Iterable[Whole]) -> Surgery:
    """Return the record with the layers that were left, for the reader."""
    return msgspec.structs.replace(surgery, whole=(*surgery.whole, *whole))
