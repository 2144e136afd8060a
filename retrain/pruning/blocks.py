"""The layer level: leave whole blocks out, such as residual blocks and encoder layers.

A block can be left out where what it gives has the shape of what it reads: the model then goes on
with what the block would have read. Where the model adds what a block gives to something else (a
residual branch), it goes on with zeros instead, which is the same as leaving the branch out.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn, overrides

from coppice import errors, project
from retrain import network
from retrain.pruning import evidence, groups, jobs, narrow, recipe, surgery, units

GROUP = "layers"
"""Name of the one group whose units are the blocks."""
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Modules that do nothing of their own with what their parts give."""
_ADDITIONS = ("add", "add_", "__add__", "__radd__", "__iadd__")
_SHOWN = 3


class Found(NamedTuple):
    """The blocks that can be left out as a group, and why others cannot."""

    group: groups.CoupledGroup
    reasons: tuple[str, ...]


def find(model: nn.Module, example: network.Tensors) -> Found:
    """Find the blocks that can be left out; the model is not changed.

    Of nested ones the outermost counts, except where it is a whole trunk: two or more blocks one
    after the other, without a way around them. Layers of a single matrix count where they stand in
    the model itself, in a trunk, or in a container; not one convolution of many in a block.

    Parameters
    ----------
    example
        A few rows of each input, on which it is tried whether the model's own forward still works.
    """
    search = _Search(model, example)
    chosen = [name for name in search.within("") if name not in search.gone]
    blocks = tuple(groups.Block(name, search.leaves[name]) for name in chosen)
    return Found(_group(model, blocks), tuple(search.reasons))


def together(
    model: nn.Module, example: network.Tensors, blocks: Sequence[groups.Block]
) -> tuple[tuple[groups.Block, ...], tuple[surgery.Whole, ...]]:
    """Return those of some blocks that can all be left out, and why the others cannot then.

    Each can by itself; but of two ways side by side one has to stay, for example.
    """
    trial = _Trial(model, example)
    good: list[groups.Block] = []
    whole = []
    for block in blocks:
        reason = trial.problem([*good, block])
        if reason is None:
            good.append(block)
        else:
            whole.append(surgery.Whole(block.module, reason))
    return tuple(good), tuple(whole)


def couple(model: nn.Module, split: project.Split) -> tuple[groups.CoupledGroup, ...]:
    """Return the blocks as groups, for penalties."""
    return (find(model, jobs.example(split)).group,)


def cut(model: nn.Module, job: jobs.Job) -> surgery.Surgery:
    """Leave out the blocks of a model that score lowest, in place. All of them may go.

    Raises
    ------
    PruningError
        No block of the network can be left out, or the criterion cannot rank them.
    """
    if job.step.removes_nothing:
        return surgery.Surgery()
    found = find(model, jobs.example(job.split))
    if not found.group.modules and GROUP not in job.before:
        raise errors.PruningError(_none(found.reasons))
    if GROUP not in job.before:
        known = [block.module for block in found.group.modules]
        recipe.check_named(job.step, [GROUP, *known])
    if job.step.share(GROUP):
        gathered = evidence.gather(model, job.split, task=job.task, seed=job.seed)
        scores = units.score([found.group], gathered, job.step.criterion, job.step.level)[0]
    else:
        # All that goes is named, so nothing has to be ranked.
        scores = torch.zeros(found.group.units, dtype=torch.float64)
    gone, whole = together(model, jobs.example(job.split), choose(found.group, scores, job))
    left = job.left.get(GROUP, found.group.units)
    record = surgery.Surgery(
        removed=tuple(surgery.Removed(block.module, block.leaves) for block in gone),
        groups=(surgery.GroupRecord(GROUP, left, left - len(gone)),),
        whole=whole,
    )
    surgery.replay(model, record)
    return record


def choose(
    group: groups.CoupledGroup, scores: torch.Tensor, job: jobs.Job
) -> tuple[groups.Block, ...]:
    """Return the blocks that go: those named by a share above a half, and the weakest of the rest.

    The share of a single block is rounded like any other: above a half it goes.
    """
    due = {n: share * job.due for n, share in job.step.amounts.items() if n != GROUP}
    named = [block for block in group.modules if block.module in due]
    gone = [block for block in named if _rounded(1, due[block.module])]
    free = [place for place, block in enumerate(group.modules) if block.module not in due]
    start = job.before.get(GROUP, group.units)
    # Gone before this cut, without those that are named; what is stuck by now is still there.
    already = start - job.left.get(GROUP, group.units) - (len(due) - len(named))
    count = _rounded(start - len(due), job.step.share(GROUP) * job.due) - already
    weakest = sorted(free, key=lambda place: (float(scores[place]), place))[: max(count, 0)]
    return (*gone, *(group.modules[place] for place in weakest))


def _rounded(blocks: int, share: float) -> int:
    """Return how many of so many blocks go; ties leave more."""
    return blocks - int(blocks * (1 - share) + 0.5 + 1e-9)


def _none(reasons: Sequence[str]) -> str:
    shown = "; ".join(reasons[:_SHOWN]) or "it has no inner modules with weights"
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return (
        f"no block of this network can be left out: {shown}{more}; a block must be a module of its "
        "own that gives one tensor in the shape of its first argument, as residual blocks and "
        "encoder layers do; use level neuron or connection"
    )


def _group(model: nn.Module, blocks: tuple[groups.Block, ...]) -> groups.CoupledGroup:
    axes = []
    for name, parameter in model.named_parameters():
        owner = next((n for n, b in enumerate(blocks) if name.startswith(f"{b.module}.")), None)
        # What has no dimension (a single scale) cannot be summed along one, and weighs nothing.
        if owner is not None and parameter.ndim > 0:
            axes.append(groups.Axis(name, 0, (owner,) * parameter.shape[0]))
    return groups.CoupledGroup(GROUP, len(blocks), tuple(axes), modules=blocks)


class _Passage(NamedTuple):
    """One call of a module: its first argument, and its answer."""

    read: Any
    given: Any


class _Trial:
    """A copy of a model in which modules are left out to see what happens."""

    def __init__(self, model: nn.Module, example: network.Tensors) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_()
        self.example = {name: _followed(tensor) for name, tensor in example.items()}
        self.dense = self._answer()

    def _answer(self) -> torch.Tensor:
        with torch.no_grad():
            return network.call(self.model, self.example)

    def problem(self, blocks: Sequence[groups.Block]) -> str | None:
        """Say why the model does not work without some blocks, or `None`."""
        before = [self.model.get_submodule(block.module) for block in blocks]
        for block in blocks:
            surgery.leave_out(self.model, block.module, block.leaves)
        try:
            found = self._answer()
        except Exception as cause:  # noqa: BLE001 - the user's forward may raise anything
            return f"is needed by the forward around it ({type(cause).__name__}: {cause})"
        finally:
            for block, module in zip(blocks, before, strict=True):
                self.model.set_submodule(block.module, module)
        if found.shape != self.dense.shape:
            return f"left out, the model answers with shape {_shape(found)}"
        if _varies(self.dense) and not _varies(found):
            return "left out, the model answers the same whatever it reads"
        return None


class _Search(_Trial):
    """Looks for what can be left out."""

    def __init__(self, model: nn.Module, example: network.Tensors) -> None:
        super().__init__(model, example)
        self.modules = dict(self.model.named_modules())
        self.gone = {n for n, m in self.modules.items() if isinstance(m, surgery.WAYS_ON)}
        self.reasons: list[str] = []
        self.leaves: dict[str, groups.Leaves] = self._watch()

    def _watch(self) -> dict[str, groups.Leaves]:
        """Return by name what stays of each module that can be left out."""
        calls: dict[str, list[_Passage]] = collections.defaultdict(list)
        hooks = [
            module.register_forward_hook(_note(calls[name]), with_kwargs=True)
            for name, module in self.modules.items()
            if name and name not in self.gone and _has_matrix(module) and not self._inside(name)
        ]
        sums = _Sums()
        with network.hooked(hooks), sums, torch.enable_grad():
            network.call(self.model, self.example)
        found: dict[str, groups.Leaves] = {}
        for name, passages in calls.items():
            leaves: groups.Leaves = "zeros" if sums.adds(passages) else "input"
            reason = _misfit(passages) or self._shared(name)
            reason = reason or self.problem([groups.Block(name, leaves)])
            if reason is None:
                found[name] = leaves
            elif passages:
                self.reasons.append(f"{name!r} {reason}")
        return found

    def _inside(self, name: str) -> bool:
        """Say whether a module is a part of an attention, which is of no use without it."""
        owner = self.modules[name.rpartition(".")[0]]
        return isinstance(owner, nn.MultiheadAttention | narrow.NarrowAttention)

    def _shared(self, name: str) -> str | None:
        holders = self.model.named_modules(remove_duplicate=False)
        shared = sum(module is self.modules[name] for _, module in holders) > 1
        return "stands in the model under several names" if shared else None

    def within(self, name: str) -> list[str]:
        """Return the outermost blocks of a module, itself where it is one, in order."""
        if name in self.gone:
            return [name]
        inner = [
            found
            for child, _ in self.model.get_submodule(name).named_children()
            for found in self.within(f"{name}.{child}".lstrip("."))
            if self._counts(found, name)
        ]
        block = name in self.leaves
        if not block or (len(inner) > 1 and not self._has_way_around(name, inner)):
            return inner
        return [name]

    def _counts(self, found: str, owner: str) -> bool:
        """Say whether a block counts in its owner: one of a single matrix not everywhere."""
        single = found.rpartition(".")[0] == owner and not any(self.modules[found].children())
        trunk = not owner or owner in self.leaves or isinstance(self.modules[owner], CONTAINERS)
        return not single or trunk or found in self.gone or self.leaves[found] == "zeros"

    def _has_way_around(self, name: str, inner: Sequence[str]) -> bool:
        """Say whether a module's answer hangs on what it reads while its inner blocks give zeros.

        Then they stand beside a shortcut, and the module is one residual block.
        """
        reads: list[torch.Tensor] = []
        gives: list[torch.Tensor] = []
        module = self.modules[name]
        hooks = [self.modules[each].register_forward_hook(_silence) for each in inner]
        hooks.append(module.register_forward_pre_hook(_tap(reads)))
        hooks.append(module.register_forward_hook(_catch(gives)))
        with network.hooked(hooks), torch.enable_grad():
            network.call(self.model, self.example)
            if not gives[-1].requires_grad:
                return False
            found = torch.autograd.grad(gives[-1].sum(), reads[-1], allow_unused=True)[0]
        return found is not None and bool(found.abs().sum() > 0)


def _followed(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that autograd follows, so that what two tensors have in common is found."""
    return tensor.clone().requires_grad_().clone() if tensor.is_floating_point() else tensor


def _has_matrix(module: nn.Module) -> bool:
    # What only rescales (a norm, a scale per channel) goes with what it rescales.
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _misfit(passages: Sequence[_Passage]) -> str | None:
    for read, given in passages:
        if not isinstance(read, torch.Tensor) or not isinstance(given, torch.Tensor):
            return "does not take and give a single tensor"
        if read.shape != given.shape or read.dtype != given.dtype:
            return f"gives shape {_shape(given)} for {_shape(read)}"
    return None if passages else "is not called"


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))


def _varies(answers: torch.Tensor) -> bool:
    return bool((answers != answers[:1]).any())


class _Sums(overrides.TorchFunctionMode):
    """Notes inside the block which tensors are added to others of their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if getattr(func, "__name__", "") in _ADDITIONS and len(args) > 1:
            first, second = args[:2]
            if isinstance(second, torch.Tensor) and first.shape == second.shape:
                self.pairs += [(first, second), (second, first)]
        return func(*args, **(kwargs or {}))

    def adds(self, passages: Sequence[_Passage]) -> bool:
        """Say whether what a module gives is always added to what it reads, or to what that is of.

        Two embeddings that are added have nothing in common, so neither is a branch of the other.
        """
        return bool(passages) and all(
            any(each is given and _shortcut(other, read, given) for each, other in self.pairs)
            for read, given in passages
        )


def _shortcut(other: torch.Tensor, read: object, given: torch.Tensor) -> bool:
    """Say whether `other` comes from what a module read, by a way that is not through it."""
    if not isinstance(read, torch.Tensor):
        return False
    come_from = _ancestors(other)
    return other is read or (given.grad_fn not in come_from and bool(come_from & _ancestors(read)))


def _ancestors(tensor: torch.Tensor) -> set[Any]:
    """Return the operations that a tensor comes from; parameters are none."""
    found: set[Any] = set()
    ahead = [tensor.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in found and not hasattr(node, "variable"):
            found.add(node)
            ahead += [parent for parent, _ in node.next_functions]
    return found


def _note(calls: list[_Passage]) -> Callable[..., None]:
    def hook(module: nn.Module, taken: Any, named: Mapping[str, Any], given: Any) -> None:
        del module
        calls.append(_Passage(next(iter((*taken, *named.values())), None), given))

    return hook


def _silence(module: nn.Module, taken: tuple[Any, ...], given: torch.Tensor) -> torch.Tensor:
    del module, taken
    return torch.zeros_like(given)


def _tap(reads: list[torch.Tensor]) -> Callable[..., tuple[Any, ...]]:
    def hook(module: nn.Module, taken: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        leaf = taken[0].detach().requires_grad_()
        reads.append(leaf)
        # A copy, because a module may write into what it reads.
        return (leaf.clone(), *taken[1:])

    return hook


def _catch(gives: list[torch.Tensor]) -> Callable[..., None]:
    return lambda _module, _taken, given: gives.append(given)
