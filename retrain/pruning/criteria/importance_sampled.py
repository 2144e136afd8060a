"""Draw what stays with the probabilities of importance sampling, in place of the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base, importance, random

RAREST = 1e-3
"""Lowest probability that is believed; what stayed against it would drown all others."""
SURE = 1e-300
"""Stands for the score of nothing where nothing went."""


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by p over an exponential draw: the best k are k draws without replacement.

    Each group draws from its own name.

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


def compensate(
    group: groups.CoupledGroup, scores: torch.Tensor, kept: Sequence[int], seed: int
) -> torch.Tensor:
    """Return 1 over the probability with which each unit stays, float64 [units].

    Weighed so, what the next layers sum up is right in the mean over the draws. Of a draw without
    replacement that probability is 1 - exp(-p / t), t the best score that went; in blocks, each
    block has its own. The draws of `score` are made once more, so its probabilities are known.

    References
    ----------
    Liebenwein et al.: Provable Filter Pruning for Efficient Neural Networks, 2020 (weights 1/(m p)
    of draws with replacement); Cohen, Kaplan: Summarizing Data Using Bottom-k Sketches, 2007.
    """
    likely = scores * _waits(group.name, seed, scores.shape)
    gone = scores.clone()
    gone[list(kept)] = 0.0
    best = gone.reshape(group.blocks, -1).amax(dim=1).repeat_interleave(group.units // group.blocks)
    stays = torch.where(best > 0, -torch.expm1(-likely / best.clamp_min(SURE)), 1.0)
    return 1.0 / stays.clamp_min(RAREST)


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Score a weight by its sensitivity over an exponential draw."""
    found = importance.weigh(names, evidence)
    return {name: one / _waits(name, evidence.seed, one.shape) for name, one in found.items()}


def _waits(name: str, seed: int, shape: Sequence[int]) -> torch.Tensor:
    return -torch.log1p(-random.draw(name, seed, shape)).clamp_max(-1e-12)


CRITERION = base.Criterion(
    levels=("neuron",),
    score=score,
    weigh=weigh,
    allocate=importance.allocate,
    compensate=compensate,
)
