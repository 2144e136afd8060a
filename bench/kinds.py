"""Kinds of canaries: the chances of what a request shows, made up or found in real answers."""

from __future__ import annotations

from typing import NamedTuple

import contestants
import numpy as np
import variants

LOSSES = {"+1": 0.01, "+3": 0.03, "+10": 0.10}
"""Points of accuracy that a candidate loses beyond the margin."""

EQUAL_DIFFERS = 0.03
"""Share of the requests on which an equal candidate answers otherwise."""


class Kind(NamedTuple):
    """Chances of what a request shows."""

    harm: float
    gain: float
    right: float
    """Both right."""
    alike: float
    """Both give the same wrong answer."""
    apart: float
    """Both wrong, with different answers."""

    @property
    def loss(self) -> float:
        return self.harm - self.gain

    @property
    def accuracy(self) -> float:
        return self.right + self.harm

    @property
    def differs(self) -> float:
        return self.harm + self.gain + self.apart

    def swapped(self) -> Kind:
        """Champion and candidate change roles by the toss of a coin: nobody is better."""
        each = (self.harm + self.gain) / 2.0
        return self._replace(harm=each, gain=each)

    def mixed(self, other: Kind, share: float) -> Kind:
        """Each request is of the other kind with a chance of `share`."""
        return Kind(*((1.0 - share) * np.array(self) + share * np.array(other)).tolist())

    def split(self) -> Kind:
        """Two requests side by side instead of one answered by both."""
        stable, candidate = self.accuracy, self.right + self.gain
        wrong = (1.0 - stable) * (1.0 - candidate)
        return Kind(
            stable * (1.0 - candidate), (1.0 - stable) * candidate, stable * candidate, wrong, 0.0
        )


class Source(NamedTuple):
    """Where canaries come from: an equal candidate, one at the margin, and harmful ones."""

    name: str
    equal: Kind
    at_margin: Kind
    harmful: dict[str, Kind]


def simulated() -> Source:
    """Made-up chances; see the notes."""

    def harmful(loss: float) -> Kind:
        return Kind(0.01 + loss, 0.01, 0.94 - loss, 0.035, 0.005)

    equal = Kind(harm=0.015, gain=0.015, right=0.935, alike=0.035, apart=0.0)
    harms = {name: harmful(contestants.MARGIN + loss) for name, loss in LOSSES.items()}
    return Source("simulated", equal, harmful(contestants.MARGIN), harms)


class Answers(NamedTuple):
    """What real networks answered: the dense one, its pruned variants, and the truth."""

    dense: variants.Classes
    pruned: list[variants.Classes]
    truth: variants.Classes


def replayed(found: Answers) -> Source:
    """Chances as found in real answers; see the notes."""
    kinds = sorted((_kind(found.dense, each, found.truth) for each in found.pruned), key=_loss)
    equal = _differing(kinds, EQUAL_DIFFERS)
    kinds = sorted([equal, *kinds], key=_loss)
    harms = {name: _losing(kinds, contestants.MARGIN + loss) for name, loss in LOSSES.items()}
    return Source("replayed", equal, _losing(kinds, contestants.MARGIN), harms)


def _loss(kind: Kind) -> float:
    return kind.loss


def _kind(stable: variants.Classes, candidate: variants.Classes, truth: variants.Classes) -> Kind:
    first, second = stable == truth, candidate == truth
    neither = ~first & ~second
    flags = (
        first & ~second,
        second & ~first,
        first & second,
        neither & (stable == candidate),
        neither & (stable != candidate),
    )
    return Kind(*(float(flag.mean()) for flag in flags))


def _differing(kinds: list[Kind], share: float) -> Kind:
    """Mix two neighbours, by disagreement, so that so many answers differ; nobody is better."""
    ordered = sorted((kind.swapped() for kind in kinds), key=lambda kind: kind.differs)
    above = next(place for place, kind in enumerate(ordered) if kind.differs >= share)
    less, more = ordered[above - 1], ordered[above]
    return less.mixed(more, (share - less.differs) / (more.differs - less.differs))


def _losing(kinds: list[Kind], loss: float) -> Kind:
    """Mix two neighbours, by loss, so that exactly so much is lost."""
    above = next(place for place, kind in enumerate(kinds) if kind.loss >= loss)
    less, more = kinds[above - 1], kinds[above]
    return less.mixed(more, (loss - less.loss) / (more.loss - less.loss))


def real_answers() -> Answers:
    """Train one dense network, prune it in several ways, and let all answer the traffic."""
    train, traffic = variants.pieces()
    parent = variants.dense(train, seed=0)
    plans = [(0.25, 1), (0.5, 6), (0.5, 3), (0.5, 1), (0.75, 6), (0.75, 3), (0.5, 0), (0.75, 0)]
    pixels = traffic.inputs["pixels"]
    cut = [variants.pruned(parent, train, amount, epochs=e, seed=1) for amount, e in plans]
    return Answers(
        variants.classes(parent, pixels),
        [variants.classes(model, pixels) for model in cut],
        np.asarray(traffic.targets),
    )
