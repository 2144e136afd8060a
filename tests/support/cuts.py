"""Cuts at random, and the masked model that a right cut answers like."""

from __future__ import annotations

import functools

import torch
from torch import nn

from retrain.pruning import groups, jobs, surgery, trial, units
from tests.support import architectures

NORMS = (nn.LayerNorm, nn.GroupNorm)
"""Layers that see how many channels there are, so that masking is not the same as cutting."""


@functools.cache
def at_random(
    architecture: architectures.Architecture, *, seed: int = 0, norms: bool = True
) -> surgery.Surgery:
    """Return the record of a cut of every group, at random places.

    Without `norms` the groups are left alone for which masking is no reference.
    """
    model, split = architecture.model(seed), architecture.data().train
    if not norms and not any(isinstance(module, NORMS) for module in model.modules()):
        return at_random(architecture, seed=seed)
    prepared = units.prepare(model, split)
    coupled = units.couple(model, split).groups
    kept = _kept(coupled if norms else _exact(model, coupled), seed)
    record = trial.workable(model, jobs.example(split), kept)
    return surgery.compose(prepared, record)


def _kept(coupled: tuple[groups.CoupledGroup, ...], seed: int) -> list[trial.Kept]:
    generator = torch.Generator().manual_seed(seed)
    counts = [
        groups.kept_count(group.units, 0.4, blocks=group.blocks, width=group.width, runs=group.runs)
        for group in coupled
    ]
    return [
        (group, groups.choose(group, torch.rand(group.units, generator=generator), count))
        for group, count in zip(coupled, counts, strict=True)
    ]


def _exact(
    model: nn.Module, coupled: tuple[groups.CoupledGroup, ...]
) -> tuple[groups.CoupledGroup, ...]:
    normed = {name for name, module in model.named_modules() if isinstance(module, NORMS)}
    return tuple(
        group
        for group in coupled
        if not normed & {axis.path.rpartition(".")[0] for axis in group.axes}
    )


def cut(
    architecture: architectures.Architecture, record: surgery.Surgery, *, seed: int = 0
) -> nn.Module:
    """Build the model that a record was made of, and cut it."""
    return surgery.replay(architecture.model(seed), record)


def masked(
    architecture: architectures.Architecture, record: surgery.Surgery, *, seed: int = 0
) -> nn.Module:
    """Build the model that a record was made of, with zeros for all that the record removes."""
    model = surgery.swap(architecture.model(seed), record)
    model.load_state_dict(surgery.masked(model.state_dict(), record))
    return model
