"""The two networks of the pruning bench, and Fashion-MNIST as a project's data.

Residual networks of three stages with two blocks each; the stem halves the picture. At widths
64/128/256 it has 88 M multiply-accumulates and 2.8 M parameters, more than the task needs; at
24/48/96 it has 12.5 M and 392 k.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coppice.project import Data, Split

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the pictures."""
WIDTHS = {"wide": (64, 128, 256), "small": (24, 48, 96)}
CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
VALIDATION_ROWS = 5000


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, itself a 1 x 1 one where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map [rows, before, height, width] to [rows, after, height / stride, width / stride]."""
        inner = self.first_norm(self.first(values)).relu()
        inner = self.second_norm(self.second(inner))
        return (inner + self.shortcut(values)).relu()


class ResidualNet(nn.Module):
    """A stem of stride 2, three stages of two blocks, and a linear layer on the mean."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        before = widths[0]
        for stage, width in enumerate(widths):
            blocks += [Block(before, width, 1 if stage == 0 else 2), Block(width, width, 1)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pictures [rows, 1, 28, 28] in [0, 1] to logits [rows, 10]."""
        values: torch.Tensor = self.blocks(self.stem(pixels))
        logits: torch.Tensor = self.head(values.mean(dim=(2, 3)))
        return logits


def read(name: str) -> np.ndarray:
    """Read one of the four idx files: pictures [rows, 28, 28] or labels [rows], uint8."""
    raw = gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
    dims = raw[3]
    shape = np.frombuffer(raw, ">i4", dims, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


def _split(pictures: np.ndarray, targets: np.ndarray) -> Split:
    pixels = (pictures[:, None] / 255.0).astype(np.float32)
    return Split(inputs={"pixels": pixels}, targets=targets.astype(np.int64))


def load_data(most: int | None = None) -> Data:
    """Return 55,000 training, 5,000 validation and the 10,000 test pictures as holdout.

    Parameters
    ----------
    most
        Rows of each, at most.
    """
    pictures, targets = read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte")
    order = np.random.default_rng(0).permutation(len(targets))
    tested, known = read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    held, used = order[:VALIDATION_ROWS], order[VALIDATION_ROWS:]
    return Data(
        train=_split(pictures[used[:most]], targets[used[:most]]),
        validation=_split(pictures[held[:most]], targets[held[:most]]),
        holdout=_split(tested[:most], known[:most]),
        classes=CLASSES,
        source="Fashion-MNIST, Zalando Research (Debian package dataset-fashion-mnist)",
        licence="MIT",
    )
