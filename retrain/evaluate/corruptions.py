"""What the world does to inputs without meaning harm: noise, blur, light, and missing values.

Each corruption is a plain function of rows, what training has seen of them, and a severity; chance
comes from a generator, so that every model meets the same corrupted rows. Pictures stay within what
training has seen.

References
----------
Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019 (the kinds for pictures; severities here are shares of the seen range).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch.nn import functional

from retrain import network
from retrain.evaluate import domain

Corrupt: TypeAlias = Callable[[torch.Tensor, domain.Terrain, float, torch.Generator], torch.Tensor]


class Corruption(NamedTuple):
    """One kind of damage, to one kind of input, and the severities to try."""

    name: str
    kind: domain.Kind
    apply: Corrupt
    severities: tuple[float, ...]
    unit: str
    """What a severity counts."""


def noise(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Add normal noise with a standard deviation of so many steps."""
    drawn = torch.randn(rows.shape, generator=random, dtype=rows.dtype)
    return _seen(rows + severity * terrain.unit * drawn, rows, terrain)


def blur(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Smooth the last two dimensions with a Gaussian of so many pixels; edges are continued."""
    del random, terrain
    reach = max(1, math.ceil(3 * severity))
    places = torch.arange(-reach, reach + 1, dtype=rows.dtype)
    weights = torch.exp(-(places**2) / (2 * severity**2))
    weights = weights / weights.sum()
    pictures = rows.reshape(-1, 1, *rows.shape[-2:])
    padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
    down = functional.conv2d(padded, weights.reshape(1, 1, -1, 1))
    return functional.conv2d(down, weights.reshape(1, 1, 1, -1)).reshape(rows.shape)


def contrast(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Pull every picture towards its own mean by a share."""
    del random, terrain
    means = rows.mean(dim=tuple(range(2, rows.ndim)), keepdim=True)
    return torch.lerp(rows, means.expand_as(rows), severity)


def brightness(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Lift every value by so many steps."""
    del random
    return _seen(rows + severity * terrain.unit, rows, terrain)


def darkness(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Lower every value by so many steps."""
    return brightness(rows, terrain, -severity, random)


def missing(
    rows: torch.Tensor, terrain: domain.Terrain, severity: float, random: torch.Generator
) -> torch.Tensor:
    """Lose a share of the values and put typical ones in their place, codes too."""
    lost = torch.rand(rows.shape, generator=random) < severity
    return torch.where(lost, terrain.typical.to(rows.dtype), rows)


CORRUPTIONS = (
    Corruption("noise", "picture", noise, (0.05, 0.1), "of the range"),
    Corruption("blur", "picture", blur, (0.3, 0.5), "pixels"),
    Corruption("contrast", "picture", contrast, (0.2, 0.4), "taken off"),
    Corruption("brighter", "picture", brightness, (0.1, 0.2), "of the range"),
    Corruption("darker", "picture", darkness, (0.1, 0.2), "of the range"),
    Corruption("feature noise", "table", noise, (0.1, 0.5), "deviations"),
    Corruption("missing, imputed", "table", missing, (0.1, 0.3), "of the values"),
)
"""All that is tried, mild first; nothing that would leave even a sound model helpless."""


def apply(
    corruption: Corruption,
    tensors: network.Tensors,
    land: domain.Domain,
    severity: float,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Corrupt every input of the corruption's kind; the same seed gives the same damage."""
    random = torch.Generator().manual_seed(seed)
    changed = dict(tensors)
    for name in sorted(land):
        if land[name].kind == corruption.kind:
            rows = tensors[name]
            changed[name] = corruption.apply(rows, land[name], severity, random).to(rows.dtype)
    return changed


def _seen(moved: torch.Tensor, rows: torch.Tensor, terrain: domain.Terrain) -> torch.Tensor:
    low, high = torch.minimum(terrain.low, rows), torch.maximum(terrain.high, rows)
    return torch.minimum(torch.maximum(moved, low), high)
