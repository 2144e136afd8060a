"""How much each group and the blocks matter: what is lost without them, before any training.

Each group is cut alone, to a few of its aligned counts, and blocks are left out alone, more and
more of them; BatchNorm statistics are re-estimated, and validation rows are scored. The rise of the
loss is what shapes are ranked by, because the score of a thousand rows moves in coarse steps; the
drop of the score is there for the reader. This is no forecast of the drop after training, and is
never used as one: it only says which shapes may race.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from coppice import labels, project
from coppice.labels import Floats
from retrain import store, train
from retrain.pruning import blocks, evidence, groups, surgery, units
from retrain.search import front, grounds, subject, widths

Places: TypeAlias = npt.NDArray[np.int64]
"""Levels of families, [combinations, families]."""
SHARES = 3
"""Counts at which each group is measured; between them the damage is taken to be straight."""
NORM_ROWS = 512
"""Training rows that BatchNorm statistics are estimated on: enough to rank by."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One group, cut alone; or some blocks left out, which are a group, too."""

    group: str
    units: int
    """Before the cut; blocks that might go."""
    kept: int
    drop: float
    """Of the mean score on validation rows, against the dense model; negative where it rose."""
    rise: float
    """Of the mean loss on the same rows."""


def sampled(counts: Sequence[int], most: int = SHARES) -> tuple[int, ...]:
    """Return a few of the counts at which a group is cut, the narrowest among them.

    >>> sampled((8, 16, 24, 32, 48, 64, 96))
    (8, 24, 64)
    """
    cut = counts[:-1]
    places = np.linspace(0, len(cut) - 1, min(most, len(cut)))
    return tuple(cut[int(place)] for place in places)


def sweep(
    of: subject.Subject, rows: int, findings: store.Store, told: Callable[[float], None]
) -> list[Point]:
    """Measure every group alone at a few counts, and the blocks; what is known is not made again.

    Parameters
    ----------
    rows
        Validation rows to score, at most.
    told
        The share that is done; may raise to stop.
    """
    bench = _Bench(of, subject.spread(of.validation, rows))
    wanted, found = alone(of), []
    for number, (group, shape) in enumerate(wanted):
        told(number / len(wanted))
        key = {
            **of.key,
            **of.chain.key(),
            "finding": "sensitivity",
            "rows": bench.split.rows,
            "out": of.grounds[shape.ground].out,
            "kept": shape.kept,
        }
        point = findings.get(key, Point)
        if point is None:
            point = bench.point(group, shape)
            findings.put(key, point)
        found.append(point)
    told(1.0)
    return found


def alone(of: subject.Subject) -> list[tuple[groups.CoupledGroup | None, subject.Shape]]:
    """Return what is measured: each group cut alone, then blocks left out alone, with no group.

    A group is cut on the first ground that has it.
    """
    first: dict[str, tuple[int, groups.CoupledGroup]] = {}
    for place, ground in enumerate(of.grounds):
        for group in ground.coupled:
            first.setdefault(group.name, (place, group))
    cut = [
        (group, subject.Shape(place, {group.name: count}))
        for place, group in first.values()
        for count in sampled(widths.counts(group, of.align))
    ]
    return [*cut, *((None, subject.Shape(place, {})) for place in range(1, len(of.grounds)))]


class _Bench:
    """Cuts and measures; what all points share is computed when the first one needs it."""

    def __init__(self, of: subject.Subject, split: project.Split) -> None:
        self.of = of
        self.split = split
        self._scores: dict[int, dict[str, torch.Tensor]] = {}
        self._whole: dict[int, tuple[float, float]] = {}

    def scores(self, place: int) -> dict[str, torch.Tensor]:
        """Return every unit's score by the recipe's criterion, of the model of a ground."""
        if place not in self._scores:
            of, ground = self.of, self.of.grounds[place]
            gathered = evidence.gather(ground.ready, of.training, task=of.task, seed=of.seed)
            scored = units.score(ground.coupled, gathered, of.chain.step.criterion)
            names = [group.name for group in ground.coupled]
            self._scores[place] = dict(zip(names, scored, strict=True))
        return self._scores[place]

    def whole(self, place: int) -> tuple[float, float]:
        """Return score and loss of the model of a ground, before any width is cut."""
        if place not in self._whole:
            model = self.of.grounds[place].model
            self._whole[place] = self.measure(model if place == 0 else self._estimated(model))
        return self._whole[place]

    def point(self, group: groups.CoupledGroup | None, shape: subject.Shape) -> Point:
        """Measure a shape in which one group is cut, or none and only blocks are left out."""
        ground = self.of.grounds[shape.ground]
        if group is None:
            units_, kept = ground.blocks, ground.blocks - len(ground.out)
            (score, loss), before = self.whole(shape.ground), self.whole(0)
        else:
            units_, kept = group.units, shape.kept[group.name]
            chosen = groups.choose(group, self.scores(shape.ground)[group.name], kept)
            record = surgery.plan(ground.ready, [(group, chosen)])
            cut = surgery.replay(copy.deepcopy(ground.ready), record)
            (score, loss), before = self.measure(self._estimated(cut)), self.whole(shape.ground)
        return Point(
            group=blocks.GROUP if group is None else group.name,
            units=units_,
            kept=kept,
            drop=before[0] - score,
            rise=loss - before[1],
        )

    def _estimated(self, model: nn.Module) -> nn.Module:
        """Return a copy whose BatchNorm statistics are those of its own activations."""
        copied = copy.deepcopy(model)
        with self.of.asking():
            train.reestimate_batch_norm(copied, self.of.training, NORM_ROWS)
        return copied

    def measure(self, model: nn.Module) -> tuple[float, float]:
        """Return mean score and mean loss on the rows."""
        of, split = self.of, self.split
        with of.asking():
            raw = torch.from_numpy(train.logits(model, split.inputs, task=of.task))
        answers = raw if of.task == "regression" else raw.softmax(dim=1)
        targets = split.targets.astype(np.float64)
        score = labels.scores(answers.numpy(), targets, task=of.task, scale=of.scale).mean()
        wanted = train.targets_of(split, of.task)
        loss = train.loss(raw, wanted, of.task, train.target_scale(split, of.task))
        return float(score), float(loss)


def damage(
    points: Sequence[Point], ground: grounds.Ground, found: Sequence[widths.Family], places: Places
) -> Floats:
    """Return the predicted damage of combinations: the sum over all groups, [combinations].

    Parameters
    ----------
    ground
        What they are made on; blocks that it has left out count, too.
    found
        Its families.
    places
        The level of each family, int64 [combinations, families].
    """
    known: dict[str, dict[int, float]] = collections.defaultdict(dict)
    for point in points:
        known[point.group][point.kept] = point.rise
    left = ground.blocks - len(ground.out)
    total = np.full(len(places), front.interpolated(known[blocks.GROUP], left, ground.blocks))
    for column, family in enumerate(found):
        for index, group in enumerate(family.groups):
            levels = [
                front.interpolated(known[group.name], level[index], group.units)
                for level in family.levels
            ]
            total += np.array(levels)[places[:, column]]
    return total
