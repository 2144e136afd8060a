"""How much each group matters: the dense model with one group cut, scored without any training.

Each group is cut alone, to a few of its aligned counts; BatchNorm statistics are re-estimated, and
validation rows are scored. The rise of the loss is what widths are ranked by, because the score of
a thousand rows moves in coarse steps; the drop of the score is there for the reader. This is no
forecast of the drop after training, and is never used as one: it only says which widths to probe.
"""

from __future__ import annotations

import collections
import copy
import functools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from coppice import labels, project
from coppice.labels import Floats
from retrain import train
from retrain.pruning import evidence, groups, surgery, units
from retrain.search import front, store, subject, widths

SHARES = 3
"""Counts at which each group is measured; between them the damage is taken to be straight."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One group, cut alone."""

    group: str
    units: int
    """Before the cut."""
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
    """Cut every group alone at a few counts, and measure each; what is known is not measured again.

    Parameters
    ----------
    rows
        Validation rows to score, at most.
    told
        The share that is done; may raise to stop.
    """
    wanted = [
        (group, count)
        for group in of.coupled
        for count in sampled(widths.counts(group, of.base.align))
    ]
    bench = _Bench(of, subject.spread(of.validation, rows))
    found = []
    for number, (group, count) in enumerate(wanted):
        told(number / len(wanted))
        key = {
            **of.key,
            "finding": "sensitivity",
            "criterion": of.base.criterion,
            "batch_norm_rows": of.base.batch_norm_rows,
            "rows": bench.split.rows,
            "group": group.name,
            "kept": count,
        }
        point = findings.get(key, Point)
        if point is None:
            point = bench.point(group, count)
            findings.put(key, point)
        found.append(point)
    told(1.0)
    return found


class _Bench:
    """Cuts and measures; what all points share is computed when the first one needs it."""

    def __init__(self, of: subject.Subject, split: project.Split) -> None:
        self.of = of
        self.split = split

    @functools.cached_property
    def scores(self) -> dict[str, torch.Tensor]:
        """Every unit's score by the recipe's criterion, of the dense model."""
        of = self.of
        gathered = evidence.gather(of.ready, of.training, task=of.task, seed=of.seed)
        scored = units.score(of.coupled, gathered, of.base.criterion)
        return {group.name: score for group, score in zip(of.coupled, scored, strict=True)}

    @functools.cached_property
    def dense(self) -> tuple[float, float]:
        """Score and loss of the dense model."""
        return self.measure(self.of.model)

    def point(self, group: groups.CoupledGroup, count: int) -> Point:
        model = copy.deepcopy(self.of.ready)
        kept = groups.choose(group, self.scores[group.name], count)
        surgery.replay(model, surgery.plan(model, [(group, kept)]))
        train.reestimate_batch_norm(model, self.of.training, self.of.base.batch_norm_rows)
        score, loss = self.measure(model)
        return Point(
            group=group.name,
            units=group.units,
            kept=count,
            drop=self.dense[0] - score,
            rise=loss - self.dense[1],
        )

    def measure(self, model: nn.Module) -> tuple[float, float]:
        """Return mean score and mean loss on the rows."""
        of, split = self.of, self.split
        raw = torch.from_numpy(train.logits(model, split.inputs, task=of.task))
        answers = raw if of.task == "regression" else raw.softmax(dim=1)
        targets = split.targets.astype(np.float64)
        score = labels.scores(answers.numpy(), targets, task=of.task, scale=of.scale).mean()
        wanted = train.targets_of(split, of.task)
        loss = train.loss(raw, wanted, of.task, train.target_scale(split, of.task))
        return float(score), float(loss)


def damage(
    points: Sequence[Point], found: Sequence[widths.Family], places: npt.NDArray[np.int64]
) -> Floats:
    """Return the predicted damage of combinations: the sum over all groups, [combinations].

    Parameters
    ----------
    places
        The level of each family, int64 [combinations, families].
    """
    known: dict[str, dict[int, float]] = collections.defaultdict(dict)
    for point in points:
        known[point.group][point.kept] = point.rise
    total = np.zeros(len(places))
    for column, family in enumerate(found):
        for index, group in enumerate(family.groups):
            levels = [
                front.interpolated(known[group.name], level[index], group.units)
                for level in family.levels
            ]
            total += np.array(levels)[places[:, column]]
    return total
