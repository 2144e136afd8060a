"""Draw from a model alone what it takes for a typical picture of each class.

From the mean of all pictures it climbs the class's score, kept smooth, within what training has
seen. How far the drawing resembles the mean training picture of its class says what the model gives
away to whoever holds its weights.

References
----------
Fredrikson, Jha, Ristenpart: Model Inversion Attacks that Exploit Confidence Information, CCS 2015.
Mahendran, Vedaldi: Understanding Deep Image Representations by Inverting Them, CVPR 2015 (the
smoothness).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from coppice import project
from coppice.labels import Floats
from retrain import network
from retrain.evaluate import domain, evaluation, probing, section

STEPS = 150
"""Further ones no longer change what can be seen."""
RATE = 0.02
"""Step of the climb, as a share of the seen range."""
SMOOTHNESS = 2.0
"""Nats that a picture pays whose neighbouring pixels all lie a whole range apart."""
MOST_CLASSES = 10
"""Classes that are drawn."""


class Drawings(NamedTuple):
    """What was drawn, by column and class."""

    pictures: dict[evaluation.Column, Floats]
    """[classes, channels, height, width]."""
    resemblances: dict[evaluation.Column, Floats]
    """Correlation with the class's mean training picture [classes]."""
    classes: tuple[str, ...]


def draw_all(
    subject: section.Subject, models: Mapping[evaluation.Column, nn.Module]
) -> Drawings | None:
    """Draw from every model; `None` where the only input is no picture, or there are no classes."""
    land = domain.survey(subject.training)
    (name, *others), classes = subject.training.inputs, subject.rules.classes
    if others or not classes or name not in land or land[name].kind != "picture":
        return None
    if subject.training.inputs[name].ndim != 4:
        return None
    mean = torch.from_numpy(subject.training.inputs[name].mean(axis=0, dtype=np.float32))
    pictures: dict[evaluation.Column, Floats] = {
        column: draw(model, mean, land[name], len(classes)) for column, model in models.items()
    }
    found: dict[evaluation.Column, Floats] = {
        column: resemblance(drawn, subject.training, name) for column, drawn in pictures.items()
    }
    return Drawings(pictures, found, classes[:MOST_CLASSES])


def beside(found: section.Section, drawings: Drawings) -> section.Section:
    """Return the section with the drawings in it."""
    means: dict[evaluation.Column, float] = {
        column: float(values.mean()) for column, values in drawings.resemblances.items()
    }
    figures = {
        f"inversion_resemblance_{column}": section.Figure(value=mean, better="lower")
        for column, mean in means.items()
    }
    table = section.Table(
        title="How drawings from the model alone resemble the mean training picture (correlation)",
        columns=("class", *(probing.COLUMNS[column] for column in means)),
        rows=tuple(
            (name, *(float(values[place]) for values in drawings.resemblances.values()))
            for place, name in enumerate(drawings.classes)
        ),
    )
    return msgspec.structs.replace(
        found,
        figures=found.figures | figures,
        tables=(*found.tables, table),
        exemplars=(*found.exemplars, *_exemplars(drawings)),
    )


def _exemplars(drawings: Drawings) -> list[section.Exemplar]:
    return [
        section.Exemplar(
            caption=f"class {name}, drawn from the {probing.COLUMNS[column]} alone",
            pixels=probing.grey(drawn[place].mean(axis=0)),
        )
        for place, name in enumerate(drawings.classes)
        for column, drawn in drawings.pictures.items()
        if column != "null"
    ]


def draw(model: nn.Module, mean: torch.Tensor, terrain: domain.Terrain, classes: int) -> Floats:
    """Return one drawing for each class [classes, channels, height, width].

    Parameters
    ----------
    mean
        Where to start [channels, height, width].
    terrain
        What training has seen of the input.
    """
    count = min(classes, MOST_CLASSES)
    pixels = mean.repeat(count, 1, 1, 1).requires_grad_()
    wanted = torch.arange(count)
    optimizer = torch.optim.Adam([pixels], lr=RATE * float(terrain.unit.max()))
    for _ in range(STEPS):
        with torch.enable_grad():
            answers = network.call(model, {"pixels": pixels.clone()})
            loss = functional.cross_entropy(answers, wanted, reduction="sum")
            total = loss + SMOOTHNESS * _roughness(pixels / terrain.unit.max()).sum()
            (pixels.grad,) = torch.autograd.grad(total, [pixels])
        optimizer.step()
        with torch.no_grad():
            pixels.copy_(torch.minimum(torch.maximum(pixels, terrain.low), terrain.high))
    return pixels.detach().numpy()


def _roughness(pixels: torch.Tensor) -> torch.Tensor:
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def resemblance(drawings: Floats, split: project.Split, name: str) -> Floats:
    """Return how each drawing correlates with its class's mean picture, less all classes' mean.

    Without taking off what all classes share, a drawing of anything would resemble everything.
    """
    pictures = split.inputs[name].astype(np.float64)
    middle = pictures.mean(axis=0)
    found = []
    for label, drawing in enumerate(drawings):
        rows = pictures[split.targets == label]
        truth = (rows.mean(axis=0) - middle).ravel() if len(rows) else np.zeros(middle.size)
        found.append(_correlation(truth, (drawing - middle).ravel()))
    return np.array(found)


def _correlation(first: Floats, second: Floats) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 0 else 0.0
