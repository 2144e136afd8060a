"""What the scanner delivers: pure functions from real scans to the scans of a changed world."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
Scanner = Literal["good", "worn"]
Medium = Literal["paper", "film"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """The circumstances in which the next scan is made.

    Attributes
    ----------
    scanner
        A `worn` lamp halves the contrast and adds noise.
    film_share
        Share of the scans that come from microfilm, as negatives.
    first, last
        The traffic scans in use, as a range of rows, so that every phase can read scans that no
        model has met.
    """

    scanner: Scanner = "good"
    film_share: float = 0.0
    first: int = 0
    last: int = 160


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan as it is sent, with the truth that only the demo knows."""

    pixels: Pixels
    digit: int
    medium: Medium


def scan(world: World, scans: Pixels, digits: npt.NDArray[np.int64], seed: int) -> Scan:
    """Draw one digit and scan it.

    Parameters
    ----------
    world
        The circumstances.
    scans
        Clean scans on paper, float32 [rows, 1, 8, 8] in [0, 1].
    digits
        Their true digits [rows].
    seed
        The scan's number; the same seed gives the same scan.

    Examples
    --------
    >>> ink = np.ones((1, 1, 8, 8), dtype=np.float32)
    >>> seen = scan(World(last=1, film_share=1.0), ink, np.array([3]), seed=0)
    >>> seen.digit, seen.medium, float(seen.pixels.max())
    (3, 'film', 0.0)
    """
    random = np.random.default_rng(seed)
    row = int(random.integers(world.first, world.last))
    on_film = bool(random.random() < world.film_share)
    pixels = scans[row]
    if on_film:
        pixels = 1.0 - pixels
    elif world.scanner == "worn":
        pixels = worn(pixels, random)
    medium: Medium = "film" if on_film else "paper"
    return Scan(pixels=pixels.astype(np.float32), digit=int(digits[row]), medium=medium)


def worn(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Scan with a worn lamp: half the contrast, and noise of 12% of full scale."""
    noise = random.normal(0.0, 0.12, pixels.shape)
    return np.clip(0.5 * pixels + noise, 0.0, 1.0).astype(np.float32)
