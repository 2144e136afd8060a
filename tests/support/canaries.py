"""Many simulated canaries at once: paired outcomes, late labels, and looks at the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring import bets, evidence

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


class Rates(NamedTuple):
    """Probability that a request harms, gains, or differs with both answers wrong."""

    harm: float
    gain: float
    both_wrong: float = 0.0


class Delays(NamedTuple):
    """Mean number of requests until the label of a harm, and of any other pair, comes."""

    harm: float
    other: float


@dataclass(frozen=True)
class Canaries:
    """Counts at each look: `[runs, looks]` each."""

    harm: Integers
    gain: Integers
    tie: Integers
    """Settled ties."""
    labels: Integers
    pending: Integers

    def logs(self, margins: evidence.Margins) -> evidence.Evidence:
        """Return the log evidence at each look, both as arrays `[runs, looks]`."""
        settled = np.stack([self.harm, self.gain, self.tie], axis=-1)
        harm_and_gain = self.pending[..., None] * np.eye(3, dtype=np.int64)[:, None, None]
        below = bets.growth_below(evidence.OUTCOMES, margins.promote)
        above = bets.growth_above(evidence.OUTCOMES, margins.rollback)
        return evidence.Evidence(
            promote=bets.mixture((settled + harm_and_gain[0]) @ below),
            rollback=bets.mixture((settled + harm_and_gain[1]) @ above),
        )


def asked(
    rng: np.random.Generator, rates: Rates, delays: Delays, shape: tuple[int, int], every: int = 50
) -> Canaries:
    """Simulate an audit sample: agreeing pairs settle at once, the others with their label."""
    outcomes, differs = _pairs(rng, rates, shape)
    arrival = _arrival(rng, outcomes, delays) * differs + np.arange(shape[1]) * ~differs
    looks = shape[1] // every
    return Canaries(
        harm=_by_look(arrival, outcomes == 1, looks, every),
        gain=_by_look(arrival, outcomes == -1, looks, every),
        tie=_by_look(arrival, outcomes == 0, looks, every),
        labels=_by_look(arrival, differs, looks, every),
        pending=_by_look(np.broadcast_to(np.arange(shape[1]), shape), differs, looks, every)
        - _by_look(arrival, differs, looks, every),
    )


def natural(
    rng: np.random.Generator, rates: Rates, delay: float, shape: tuple[int, int], every: int = 50
) -> Canaries:
    """Simulate labels for all requests, late but whatever the outcome; only labelled ones count."""
    outcomes, _ = _pairs(rng, rates, shape)
    arrival = _arrival(rng, outcomes, Delays(delay, delay))
    looks = shape[1] // every
    labels = _by_look(arrival, np.ones(shape, dtype=bool), looks, every)
    return Canaries(
        harm=_by_look(arrival, outcomes == 1, looks, every),
        gain=_by_look(arrival, outcomes == -1, looks, every),
        tie=_by_look(arrival, outcomes == 0, looks, every),
        labels=labels,
        pending=np.zeros_like(labels),
    )


def fractional(outcomes: Floats, margins: evidence.Margins, every: int = 50) -> evidence.Evidence:
    """Return the log evidence at each look over any outcomes in [-1, 1], `[runs, requests]`."""
    runs, requests = outcomes.shape
    looks = outcomes.reshape(runs, requests // every, every)
    below = bets.growth_below(looks, margins.promote).sum(axis=2).cumsum(axis=1)
    above = bets.growth_above(looks, margins.rollback).sum(axis=2).cumsum(axis=1)
    return evidence.Evidence(promote=bets.mixture(below), rollback=bets.mixture(above))


def first(reached: npt.NDArray[np.bool_], every: int = 50) -> Floats:
    """Return the number of requests at the first look that reached it; infinity for never."""
    looks = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
    return np.asarray(looks * every)


def _pairs(
    rng: np.random.Generator, rates: Rates, shape: tuple[int, int]
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    draw = rng.random(shape)
    harm, gain, differs = np.cumsum(rates)
    outcomes = (draw < harm).astype(np.int64) - ((draw >= harm) & (draw < gain))
    return outcomes, draw < differs


def _arrival(rng: np.random.Generator, outcomes: Integers, delays: Delays) -> Integers:
    mean = np.where(outcomes == 1, delays.harm, delays.other)
    delay = np.floor(rng.exponential(mean + 1e-9)).astype(np.int64)
    return np.asarray(np.arange(outcomes.shape[1]) + delay)


def _by_look(arrival: Integers, counted: npt.NDArray[np.bool_], looks: int, every: int) -> Integers:
    """Count what has arrived by each look, cumulatively."""
    runs = len(arrival)
    look = np.minimum(arrival // every, looks)
    place = np.arange(runs)[:, None] * (looks + 1) + look
    counts = np.bincount(place[counted], minlength=runs * (looks + 1)).reshape(runs, looks + 1)
    return np.asarray(counts.cumsum(axis=1)[:, :looks])
