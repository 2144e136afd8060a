"""Which shapes are worth a measurement: aligned widths on every ground, thinned by prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coppice.labels import Floats
from retrain.search import estimate, sensitivity, subject, widths


class Predicted(NamedTuple):
    """A shape and its predicted damage."""

    shape: subject.Shape
    damage: float


class _Part(NamedTuple):
    """All combinations of widths on one ground."""

    families: tuple[widths.Family, ...]
    places: npt.NDArray[np.int64]
    damage: Floats
    macs: Floats


def candidates(
    of: subject.Subject, points: tuple[sensitivity.Point, ...], most: int
) -> list[Predicted]:
    """Return at most so many shapes that cover all costs, of each cost the mildest.

    They come in an order that covers all costs early. The dense model is none of them.
    """
    parts = [_part(of, points, place) for place in range(len(of.grounds))]
    ground = np.concatenate([np.full(len(p.places), place) for place, p in enumerate(parts)])
    taken = widths.thinned(
        np.concatenate([part.macs for part in parts]),
        np.concatenate([part.damage for part in parts]),
        most,
        kinds=ground,
    )
    starts = np.cumsum([0, *(len(part.places) for part in parts)])
    found = []
    for at in taken:
        place = int(ground[at])
        found.append(_predicted(parts[place], place, at - int(starts[place])))
    return found


def _part(of: subject.Subject, points: tuple[sensitivity.Point, ...], place: int) -> _Part:
    ground = of.grounds[place]
    found = widths.families(ground.coupled, of.align)
    every = widths.combinations(found, widths.COMBINATIONS // len(of.grounds))
    # The last keeps everything, which on the first ground is the model as it was.
    wanted = every if place else every[:-1]
    places = np.array(wanted, dtype=np.int64).reshape(len(wanted), len(found))
    counts = {
        group.name: np.array([level[index] for level in family.levels], dtype=np.float64)[
            places[:, column]
        ]
        for column, family in enumerate(found)
        for index, group in enumerate(family.groups)
    }
    guess = estimate.Estimate(ground.ready, of.training, ground.coupled)
    return _Part(
        families=found,
        places=places,
        damage=sensitivity.damage(points, ground, found, places),
        macs=guess.macs(counts, len(places)),
    )


def _predicted(part: _Part, ground: int, at: int) -> Predicted:
    kept = widths.chosen(part.families, part.places[at].tolist())
    return Predicted(subject.Shape(ground, kept), float(part.damage[at]))
