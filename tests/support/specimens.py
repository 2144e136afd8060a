"""One small candidate for every kind of network and input that a section must be able to probe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from coppice import labels, project
from retrain import network
from retrain.evaluate import evaluation, section
from tests.support import networks, subjects


class Kind(NamedTuple):
    """How a kind of network is built and fed."""

    factory: Callable[[], nn.Module]
    rows: Callable[[int, int], project.Split]
    task: labels.Task
    classes: tuple[str, ...]


class Series(nn.Module):
    """Reads a series of columns with a recurrent layer, which no pruning can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(values)[0][:, -1])  # type: ignore[no-any-return]


def series(count: int, seed: int) -> project.Split:
    """Series [5, 3] whose class is the sign of their first column's sum."""
    flat = networks.vectors(count, seed, width=15)
    values = flat.inputs["values"].reshape(count, 5, 3)
    return project.Split(inputs={"values": values}, targets=flat.targets)


THREE, TWO = ("a", "b", "c"), ("no", "yes")
KINDS = {
    "perceptron": Kind(networks.mlp, networks.vectors, "binary", TWO),
    "residual": Kind(networks.Residual, networks.rows, "multiclass", THREE),
    "depthwise": Kind(networks.depthwise, networks.rows, "multiclass", THREE),
    "grouped": Kind(networks.grouped, networks.rows, "multiclass", THREE),
    "transformer": Kind(networks.Transformer, networks.sequences, "binary", TWO),
    "two inputs": Kind(networks.TwoInputs, networks.pairs, "binary", TWO),
    "attention by hand": Kind(networks.HandAttention, networks.sequences, "binary", TWO),
    "regression": Kind(lambda: networks.mlp(outputs=1), networks.amounts, "regression", ()),
    "series": Kind(Series, series, "binary", TWO),
}
"""By a name that a test's output can be read by."""


@functools.cache
def subject(name: str) -> section.Subject:
    """Return an untrained candidate of a kind beside an untrained parent and null control.

    Untrained is enough to see whether a kind can be probed at all, and takes no time.
    """
    kind = KINDS[name]
    data = project.Data(
        train=kind.rows(90, 0),
        validation=kind.rows(70, 1),
        holdout=kind.rows(80, 2),
        classes=kind.classes,
    )
    models: dict[evaluation.Column, nn.Module] = {
        "parent": network.build(kind.factory, seed=0).eval(),
        "null": network.build(kind.factory, seed=1).eval(),
        "candidate": network.build(kind.factory, seed=2).eval(),
    }
    made = subjects.subject_of(
        data, models, kind.factory, task=kind.task, scale=50.0 if not kind.classes else 1.0
    )
    return subjects.with_inspect(made, attack_steps=2, draws=100)
