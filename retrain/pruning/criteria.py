"""How coupled channels are ranked: plain functions from groups and evidence to one score per unit.

A criterion is any callable of this shape; what it finds less worth keeping scores lower. It sees
all groups at once because gradients come as a stream that is read a single time; scores never
depend on the order of the groups.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch

from retrain.pruning import groups

Values: TypeAlias = Mapping[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes
    ----------
    parameters
        The model's parameters by name.
    gradients
        Starts a stream of the loss's gradients by parameter name, one mapping per minibatch.
    seed
        For criteria that draw.
    """

    parameters: Values
    gradients: Callable[[], Iterator[Values]]
    seed: int = 0


Criterion: TypeAlias = Callable[[Sequence[groups.CoupledGroup], Evidence], list[torch.Tensor]]


def magnitude(coupled: Sequence[groups.CoupledGroup], evidence: Evidence) -> list[torch.Tensor]:
    """Score a unit by the Euclidean norm of all weights it owns, over the group's mean norm.

    Biases are left out: they say where a channel lies, not how much it carries.

    References
    ----------
    Li et al.: Pruning Filters for Efficient ConvNets, 2017 (single layers); Fang et al.: DepGraph,
    2023 (over coupled layers).
    """
    squares = {
        name: parameter.detach().square()
        for name, parameter in evidence.parameters.items()
        if not name.endswith("bias")
    }
    return [_over_mean(groups.per_unit(group, squares).sqrt()) for group in coupled]


def _over_mean(norms: torch.Tensor) -> torch.Tensor:
    # A group of zeros has nothing to tell apart, and must not become NaN.
    return norms / norms.mean().clamp_min(torch.finfo(norms.dtype).tiny)


def taylor(coupled: Sequence[groups.CoupledGroup], evidence: Evidence) -> list[torch.Tensor]:
    """Score a unit by the first-order change of the loss if it went, squared per minibatch.

    The change is the sum of weight times gradient over all that the unit owns. It is squared before
    the minibatches are averaged: averaged first, changes of opposite sign would cancel and an
    important unit could look idle.

    References
    ----------
    Molchanov et al.: Importance Estimation for Neural Network Pruning, 2019.
    """
    totals = [torch.zeros(group.units, dtype=torch.float64) for group in coupled]
    batches = 0
    for gradients in evidence.gradients():
        batches += 1
        changes = {
            name: evidence.parameters[name].detach() * gradient
            for name, gradient in gradients.items()
        }
        for total, group in zip(totals, coupled, strict=True):
            total.add_(groups.per_unit(group, changes).square())
    return [total / max(batches, 1) for total in totals]


def random(coupled: Sequence[groups.CoupledGroup], evidence: Evidence) -> list[torch.Tensor]:
    """Score by chance: the control that every other criterion has to beat.

    Each group draws from its own name, so that its scores do not hang on the other groups.
    """
    return [_draw(group, evidence.seed) for group in coupled]


def _draw(group: groups.CoupledGroup, seed: int) -> torch.Tensor:
    # torch's generator looks at the low 32 bits of a seed only, so both go into these.
    mixed = zlib.crc32(f"{seed} {group.name}".encode())
    generator = torch.Generator().manual_seed(mixed)
    return torch.rand(group.units, generator=generator, dtype=torch.float64)


CRITERIA: Mapping[str, Criterion] = {"magnitude": magnitude, "random": random, "taylor": taylor}
"""By the names that a recipe uses."""
