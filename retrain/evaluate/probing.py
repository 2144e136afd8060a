"""How deeper sections ask models: held still, on few rows, for a bounded amount of arithmetic.

Nothing here changes a weight, and everything that is switched for a measurement is put back. Time
is bounded by multiply-accumulates, not by a clock, so that the same candidate gets the same figures
on every machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from coppice import labels, project
from coppice.labels import Floats
from retrain import network, train
from retrain.evaluate import evaluation, section
from retrain.pruning import schedule

COLUMNS: dict[evaluation.Column, str] = {
    "parent": "dense parent",
    "null": "null control",
    "candidate": "candidate",
}
"""The models that a section probes, and what a reader calls them."""
LEAST_ROWS = 64
"""Rows that are asked whatever they cost: on fewer no figure would mean anything."""
GRADIENT_ROWS = 64
"""Rows of a pass with gradients, which holds every layer's answers in memory."""
MOST_NUMBERS = 5_000_000
"""Numbers of one kind about all rows that are held at once; wide inputs are asked on fewer rows."""
MOST_PIXELS = 64
"""Longest side of a picture that is shown; larger ones are thinned out."""
BACKWARD = 3
"""A pass with gradients costs about as much as so many without."""


@contextlib.contextmanager
def held(subject: section.Subject) -> Iterator[dict[evaluation.Column, nn.Module]]:
    """Lend the models in evaluation mode, torch seeded and on the cores it may use.

    Afterwards each module is in the mode that it was in.
    """
    models: dict[evaluation.Column, nn.Module] = {
        name: subject.models[name] for name in COLUMNS if name in subject.models
    }
    modes = [(part, part.training) for model in models.values() for part in model.modules()]
    threads = network.on_cores(subject.own.settings.train.threads)
    with threads, network.seeded(subject.rules.seed):
        for model in models.values():
            model.eval()
        try:
            yield models
        finally:
            for part, training in modes:
                part.training = training


def sample(split: project.Split, most: int, *, seed: int) -> project.Split:
    """Draw at most so many rows without replacement, in the order in which they stand.

    >>> rows = project.Split(inputs={"x": np.arange(9.0)}, targets=np.arange(9))
    >>> sample(rows, 4, seed=0).rows, sample(rows, 99, seed=0).rows
    (4, 9)
    """
    if split.rows <= most:
        return split
    drawn = np.random.default_rng(seed).choice(split.rows, size=most, replace=False)
    return split.take(np.sort(drawn))


def affordable(
    subject: section.Subject, split: project.Split, *, passes: float, most: int
) -> project.Split:
    """Draw as many rows as can be asked so many times for the section's share of arithmetic.

    Parameters
    ----------
    passes
        Forward passes per row, over all models; one with gradients counts `BACKWARD`.
    most
        Never more rows than this, nor than fit into `MOST_NUMBERS`; never fewer than `LEAST_ROWS`
        where there are so many.
    """
    wide = max(1, sum(array[:1].size for array in split.inputs.values()))
    macs = schedule.cost(subject.models["parent"], subject.data.train).macs
    budget = subject.own.settings.inspect.section_gigamacs * 1e9
    rows = min(int(budget / (passes * max(macs, 1))), MOST_NUMBERS // wide)
    return sample(split, min(max(rows, LEAST_ROWS), most), seed=subject.rules.seed)


def scores(model: nn.Module, split: project.Split, rules: evaluation.Rules) -> Floats:
    """Score a model's public answers row by row, in [0, 1]; float64 [rows]."""
    answers = train.predict(model, split.inputs, task=rules.task).astype(np.float64)
    targets = split.targets.astype(np.float64)
    return labels.scores(answers, targets, task=rules.task, scale=rules.scale)


def losses(answers: torch.Tensor, targets: torch.Tensor, task: labels.Task) -> torch.Tensor:
    """Return the loss of each row: cross-entropy in nats, or the absolute error; [rows]."""
    if task == "regression":
        return (answers - targets).abs()
    return functional.cross_entropy(answers, targets, reduction="none")


def movable(tensors: network.Tensors) -> tuple[str, ...]:
    """Name the inputs that can be moved a little: those of floating point."""
    return tuple(name for name, tensor in tensors.items() if tensor.is_floating_point())


def points(share: float) -> str:
    """Write a share as points.

    >>> points(0.0312), points(0.01)
    ('3.1 points', '1.0 points')
    """
    return f"{100 * share:.1f} points"


def grey(picture: Floats) -> tuple[tuple[float, ...], ...]:
    """Stretch a picture [height, width] to [0, 1], and thin it out, as an exemplar shows it.

    >>> grey(np.array([[2.0, 4.0], [3.0, 2.0]]))
    ((0.0, 1.0), (0.5, 0.0))
    """
    step = -(-max(picture.shape) // MOST_PIXELS)
    picture = picture[::step, ::step].astype(np.float64)
    low, high = float(picture.min()), float(picture.max())
    wide = (picture - low) / ((high - low) or 1.0)
    return tuple(tuple(round(float(value), 4) for value in row) for row in wide)


def unmeasured(name: str, title: str, reason: str) -> section.Section:
    """Return a section that says why there is nothing in it."""
    return section.Section(
        name=name, title=title, status="not measured", sentence=f"Not measured: {reason}."
    )
