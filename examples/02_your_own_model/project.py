"""A model of one's own: two named inputs, slices, and a checkpoint that `train.py` wrote.

The table holds 569 breast tumours: of each the average of ten measured features over all its cells,
and their worst values. The two go into the model as separate inputs, as two sensors would.
"""

from __future__ import annotations

import numpy as np
import sklearn.datasets
import torch
from torch import nn

from coppice.project import Data, Split

FEATURES = 10
CLASSES = ("malignant", "benign")


class Branch(nn.Module):
    """Reads one input. The first BatchNorm scales it, so clients send raw values."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(FEATURES, affine=False, eps=1e-8)
        self.first = nn.Linear(FEATURES, 128)
        self.norm = nn.BatchNorm1d(128)
        self.second = nn.Linear(128, 64)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return what the branch found, [rows, 64]."""
        hidden = torch.relu(self.norm(self.first(self.scale(values))))
        return torch.relu(self.second(hidden))


class TwoBranches(nn.Module):
    """Takes its inputs by the names that `Split.inputs` and the clients use."""

    def __init__(self) -> None:
        super().__init__()
        self.average = Branch()
        self.worst = Branch()
        self.hidden = nn.Linear(128, 128)
        self.answer = nn.Linear(128, len(CLASSES))

    def forward(self, average: torch.Tensor, worst: torch.Tensor) -> torch.Tensor:
        """Return one logit per class, [rows, 2]."""
        both = torch.cat([self.average(average), self.worst(worst)], dim=1)
        return self.answer(torch.relu(self.hidden(both)))


def build_model() -> nn.Module:
    """Return the dense architecture, untrained."""
    return TwoBranches()


def load_data() -> Data:
    """Return the splits. `holdout` is what the gates judge on: no training may ever see it."""
    table = sklearn.datasets.load_breast_cancer()
    rows = np.random.default_rng(0).permutation(len(table.target))
    train, validation, holdout = np.split(rows, [280, 340])
    return Data(
        train=_split(table, train),
        validation=_split(table, validation),
        holdout=_split(table, holdout),
        classes=CLASSES,
        source="UCI Breast Cancer Wisconsin (Diagnostic), as scikit-learn ships it",
        licence="CC-BY-4.0",
    )


def _split(table: sklearn.utils.Bunch, rows: np.ndarray) -> Split:
    values = table.data[rows].astype(np.float32)
    radius = values[:, 0]
    return Split(
        inputs={"average": values[:, :10], "worst": values[:, 20:]},
        targets=table.target[rows].astype(np.int64),
        # A group that got worse would show here, whatever the average says.
        slices={"size": np.where(radius > 13.5, "large", "small")},
    )
