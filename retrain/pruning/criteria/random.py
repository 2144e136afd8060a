"""Rank by chance: the control that every other criterion has to beat."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Draw a score in [0, 1) per unit.

    Each group draws from its own name, so that its scores do not hang on the other groups.
    """
    return [draw(group.name, evidence.seed, (group.units,)) for group in coupled]


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Draw a score in [0, 1) per weight."""
    parameters = evidence.parameters
    return {name: draw(name, evidence.seed, parameters[name].shape) for name in names}


def draw(name: str, seed: int, shape: Sequence[int]) -> torch.Tensor:
    """Draw uniformly from [0, 1), the same for the same name and seed, float64 [shape]."""
    # torch's generator looks at the low 32 bits of a seed only, so both go into these.
    mixed = zlib.crc32(f"{seed} {name}".encode())
    generator = torch.Generator().manual_seed(mixed)
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64)


CRITERION = base.Criterion(score=score, weigh=weigh)
