"""Rank blocks by how much they turn what they read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from retrain.pruning import groups
from retrain.pruning.criteria import base

_IMAGE_DIMS = 4
"""Values of so many dimensions or more hold their channels in the second, others in the last."""


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a block by 1 minus the mean cosine between what it reads and what it gives.

    The cosine is over the channels of one place (a token, a pixel), the mean over all places of all
    rows. A residual branch that the model adds gives what it was added to and itself together.

    References
    ----------
    Men et al.: ShortGPT: Layers in Large Language Models are More Redundant Than You Expect, 2024.
    """
    return [_influence(group, evidence) for group in coupled]


def _influence(group: groups.CoupledGroup, evidence: base.Evidence) -> torch.Tensor:
    names = [block.module for block in group.modules]
    turned = torch.zeros(len(names), dtype=torch.float64)
    places = torch.zeros(len(names), dtype=torch.float64)
    pairs = zip(evidence.activations(names), evidence.outputs(names), strict=True)
    for reads, gives in pairs:
        for unit, block in enumerate(group.modules):
            read, given = reads[block.module], gives[block.module]
            if block.leaves == "zeros":
                given = given + read
            cosines = functional.cosine_similarity(read, given, dim=_channels(read)).double()
            turned[unit] += (1.0 - cosines).sum()
            places[unit] += cosines.numel()
    # Rounding may take a cosine above 1 by its last bit.
    return (turned / places.clamp_min(1.0)).clamp_min(0.0)


def _channels(values: torch.Tensor) -> int:
    return 1 if values.ndim >= _IMAGE_DIMS else -1


CRITERION = base.Criterion(levels=("layer",), score=score)
