"""Draw what stays with the probabilities of importance sampling, in place of the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base, importance, random


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by p over an exponential draw: the best k are k draws without replacement.

    Each group draws from its own name. What stays keeps its weights: dividing them by how often
    they were expected would leave the next layer's sums right in the mean, which re-estimated
    BatchNorm statistics and fine-tuning see to with less noise.

    Raises
    ------
    PruningError
        No layer with weights reads a group; the message names it.

    References
    ----------
    Liebenwein et al.: Provable Filter Pruning for Efficient Neural Networks, 2020; Efraimidis,
    Spirakis: Weighted random sampling with a reservoir, 2006 (the draw).
    """
    sensitivities = importance.score(coupled, evidence)
    return [
        found / _waits(group.name, evidence.seed, found.shape)
        for group, found in zip(coupled, sensitivities, strict=True)
    ]


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Score a weight by its sensitivity over an exponential draw."""
    found = importance.weigh(names, evidence)
    return {name: one / _waits(name, evidence.seed, one.shape) for name, one in found.items()}


def _waits(name: str, seed: int, shape: Sequence[int]) -> torch.Tensor:
    return -torch.log1p(-random.draw(name, seed, shape)).clamp_max(-1e-12)


CRITERION = base.Criterion(
    levels=("neuron",), score=score, weigh=weigh, allocate=importance.allocate
)
