"""What widths are chosen on: the dense model with none, some or all of its blocks left out.

Blocks go in one order, those first that turn least what they read, so there is one ground for each
number of blocks. What the recipe does before is done to every ground; nothing is trained.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn

from coppice import errors, labels, project
from retrain import store
from retrain.pruning import blocks, evidence, groups, jobs, recipe, schedule, surgery, trial, units
from retrain.search import chain, widths

MOST = 8
"""Most grounds; of a network of more blocks, numbers of them that are evenly spaced."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """A model whose widths may be chosen.

    Attributes
    ----------
    out
        Blocks that the search has left out, in order.
    blocks
        How many it might have left out.
    model
        The dense model after the recipe's earlier steps, without these blocks; never changed.
    ready
        The same, prepared to be cut: attention with free widths inside.
    coupled
        Groups of `ready` whose cut the model's own code can follow; none where no width is free.
    """

    out: tuple[str, ...]
    blocks: int
    model: nn.Module
    ready: nn.Module
    coupled: tuple[groups.CoupledGroup, ...]


class Order(msgspec.Struct, frozen=True):
    """Blocks that can all be left out, in the order in which they go."""

    blocks: tuple[tuple[str, groups.Leaves], ...]


class Asked(NamedTuple):
    """The recipe, parted, and whether blocks may be left out beside what it leaves out itself."""

    chain: chain.Chain
    leave_out: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How grounds are made.

    Attributes
    ----------
    asked
        What is wanted.
    task, seed
        Of the project.
    key
        What findings about the dense model follow from.
    """

    asked: Asked
    task: labels.Task
    seed: int
    key: store.Key


class Laid(NamedTuple):
    """Grounds, and the chain whose earlier steps are told by name."""

    grounds: tuple[Ground, ...]
    chain: chain.Chain


def lay(model: nn.Module, training: project.Split, plan: Plan, findings: store.Store) -> Laid:
    """Make the grounds of a dense model, the one with all blocks first.

    Raises
    ------
    PruningError
        The recipe's earlier steps cannot be carried out, or nothing of the network can be removed.
    """
    start, pinned = _started(model, training, plan)
    order = _order(start, training, plan, findings) if plan.asked.leave_out else ()
    depths = np.unique(np.linspace(0, len(order), min(MOST, len(order) + 1)).astype(int))
    found = tuple(
        _ground(start, training, pinned.step, order[:depth], len(order))
        for depth in depths.tolist()
    )
    if not order and not found[0].coupled:
        raise errors.PruningError(_stuck(found[0], training, pinned.step))
    return Laid(found, pinned)


def _started(
    model: nn.Module, training: project.Split, plan: Plan
) -> tuple[nn.Module, chain.Chain]:
    """Carry the recipe's earlier steps out on a copy of a model, without training."""
    how, started = plan.asked.chain.start(), copy.deepcopy(model).eval()
    if how is None:
        return started, plan.asked.chain
    record = schedule.prune(started, training, how, task=plan.task, seed=plan.seed)
    return started, plan.asked.chain.pinned([gone.module for gone in record.removed])


def _order(
    start: nn.Module, training: project.Split, plan: Plan, findings: store.Store
) -> tuple[groups.Block, ...]:
    """Rank the blocks of a model; empty where it has none."""
    key = {
        **plan.key,
        **plan.asked.chain.key(),
        "finding": "order of blocks",
        "ranked by": chain.RANKED_BY,
    }
    known = findings.get(key, Order)
    if known is None:
        known = Order(tuple(_ranked(start, training, plan)))
        findings.put(key, known)
    return tuple(groups.Block(*block) for block in known.blocks)


def _ranked(start: nn.Module, training: project.Split, plan: Plan) -> Sequence[groups.Block]:
    example = jobs.example(training)
    group = blocks.find(start, example).group
    if not group.modules:
        return ()
    gathered = evidence.gather(start, training, task=plan.task, seed=plan.seed)
    scores = units.score([group], gathered, chain.RANKED_BY, "layer")[0]
    ranked = [group.modules[place] for place in scores.argsort(stable=True).tolist()]
    return blocks.together(start, example, ranked)[0]


def _ground(
    start: nn.Module,
    training: project.Split,
    step: recipe.Step,
    out: Sequence[groups.Block],
    most: int,
) -> Ground:
    model = copy.deepcopy(start)
    for block in out:
        surgery.leave_out(model, block.module, block.leaves)
    ready = copy.deepcopy(model)
    units.prepare(ready, training)
    return Ground(
        out=tuple(block.module for block in out),
        blocks=most,
        model=model,
        ready=ready,
        coupled=_free(ready, training, step),
    )


def _free(
    ready: nn.Module, training: project.Split, step: recipe.Step
) -> tuple[groups.CoupledGroup, ...]:
    """Return the groups of which some units can go, and the model's own code follows."""
    found, whole = _tried(ready, training, step)
    stuck = {each.name for each in whole}
    return tuple(
        group
        for group in found
        if group.name not in stuck and widths.step(group, step.align) < group.units
    )


def _tried(
    ready: nn.Module, training: project.Split, step: recipe.Step
) -> tuple[tuple[groups.CoupledGroup, ...], tuple[surgery.Whole, ...]]:
    """Return the groups of a model, and which of its layers cannot lose a channel, and why."""
    found = units.couple(ready, training, step.inside)
    narrow = [
        (group, groups.choose(group, torch.zeros(group.units), widths.step(group, step.align)))
        for group in found.groups
    ]
    record = trial.workable(ready, jobs.example(training), narrow)
    return found.groups, (*found.whole, *record.whole)


def _stuck(ground: Ground, training: project.Split, step: recipe.Step) -> str:
    found, whole = _tried(ground.ready, training, step)
    stuck = {each.name for each in whole}
    reasons = [f"{each.name!r}: {each.reason}" for each in whole]
    reasons += [
        f"{group.name!r} has {group.units} units, no more than one step"
        for group in found
        if group.name not in stuck
    ]
    return "no width of this network can be chosen; " + "; ".join(reasons)
