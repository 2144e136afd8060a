"""The neuron level: remove coupled channels, chosen by a criterion, tried on a copy first."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
from torch import nn

from coppice import errors, project
from retrain.pruning import (
    allocation,
    attention,
    criteria,
    evidence,
    groups,
    jobs,
    neurons,
    readers,
    surgery,
    trial,
)
from retrain.pruning.criteria import base


def couple(
    model: nn.Module, split: project.Split, inside: attention.Inside = "heads"
) -> neurons.Coupling:
    """Find the coupled groups of a model with a few rows of a split; the model is not changed.

    They are those of the model after `prepare`: attention is seen with free widths inside.
    """
    example = jobs.example(split)
    if any(isinstance(module, nn.MultiheadAttention) for module in model.modules()):
        model = copy.deepcopy(model)
        attention.widen(model, example)
    found = neurons.trace(model, example)
    return found._replace(groups=(*found.groups, *attention.inside(model, inside)))


def prepare(model: nn.Module, split: project.Split) -> surgery.Surgery:
    """Give attention free widths inside, in place, and return the record of it."""
    done = attention.widen(model, jobs.example(split))
    return surgery.Surgery(swapped=tuple(surgery.Swapped(name) for name in done))


def cut(model: nn.Module, job: jobs.Job) -> surgery.Surgery:
    """Remove the channels that score lowest of a model, in place.

    The cut is first made on a copy: a group whose cut the model's own code cannot follow is left
    whole, and the record says why.

    Raises
    ------
    PruningError
        The network cannot be cut, or the criterion cannot rank it.
    """
    coupling = couple(model, job.split, job.step.inside)
    gathered = evidence.gather(model, job.split, task=job.task, seed=job.seed)
    scores = score(coupling.groups, gathered, job.step.criterion)
    counts = _counts(coupling.groups, scores, gathered, job)
    kept = [
        (group, groups.choose(group, score, count))
        for group, score, count in zip(coupling.groups, scores, counts, strict=True)
    ]
    record = trial.workable(model, jobs.example(job.split), kept)
    rows = jobs.spread(job.split)
    if trial.problem(model, rows, record) is not None:
        # The network takes another way for some rows: all of them say which cuts it bears.
        record = trial.workable(model, rows, kept)
    _compensate(model, job, {group.name for group in record.groups}, kept, scores)
    record = surgery.with_whole(record, coupling.whole)
    surgery.replay(model, record)
    return record


def _compensate(
    model: nn.Module,
    job: jobs.Job,
    cut_: Collection[str],
    kept: Sequence[trial.Kept],
    scores: Sequence[torch.Tensor],
) -> None:
    """Multiply in place what reads the groups that are cut, where the criterion asks for it."""
    compensate = criteria.load(job.step.criterion).compensate
    if compensate is None:
        return
    for (group, stay), score_ in zip(kept, scores, strict=True):
        if group.name not in cut_:
            continue
        factors = compensate(group, score_, stay, job.seed)
        # The spare last place is that of columns that nobody owns.
        factors = torch.cat([factors, torch.ones(1, dtype=factors.dtype)])
        for reader in readers.of(model, group):
            weights = model.get_parameter(f"{reader.module}.{reader.tensor}")
            by_column = factors[torch.tensor(reader.owners)].to(weights.dtype)
            with torch.no_grad():
                weights.mul_(by_column.reshape(1, -1, *[1] * (weights.ndim - 2)))


def score(
    coupled: Sequence[groups.CoupledGroup],
    gathered: base.Evidence,
    name: str,
    level: str = "neuron",
) -> list[torch.Tensor]:
    """Return a criterion's scores of units, float64 [units] for each group.

    Raises
    ------
    PruningError
        The criterion does not rank units of this level, or its scores are not finite.
    """
    ranks = criteria.check(name, level).score
    assert ranks is not None
    scores = ranks(coupled, gathered)
    for group, found in zip(coupled, scores, strict=True):
        if not torch.isfinite(found).all():
            message = f"{name} gives {group.name!r} scores that are not finite"
            raise errors.PruningError(message)
    return scores


def _counts(
    coupled: Sequence[groups.CoupledGroup],
    scores: Sequence[torch.Tensor],
    gathered: base.Evidence,
    job: jobs.Job,
) -> list[int]:
    step = job.step
    before = {
        group.name: job.before[group.name] // group.width
        for group in coupled
        if group.name in job.before
    }
    if step.scope == "local":
        return allocation.everywhere(coupled, step, job.due, before)
    if step.scope == "global":
        return allocation.across(coupled, scores, step, job.due, before)
    allocate = criteria.load(step.criterion).allocate
    if allocate is None:
        message = (
            f"{step.criterion} does not say how much goes of each group; use scope local or global"
        )
        raise errors.PruningError(message)
    left = allocation.amount_left(coupled, step, job.due, before)
    return allocation.allotted(coupled, allocate(coupled, gathered, left), step, job.due, before)
