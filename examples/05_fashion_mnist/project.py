"""Fashion-MNIST: a residual network for 70,000 grey pictures of clothes, 28 x 28.

The four files come from Debian's package dataset-fashion-mnist, or from a folder that the variable
COPPICE_FASHION_MNIST names. Pixels run from 0 (nothing) to 1 (brightest).
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coppice.project import Data, Split

VARIABLE = "COPPICE_FASHION_MNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts the files."""
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CLASSES = (
    "t-shirt",
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
ROWS = {"train": 10_000, "validation": 1_000, "holdout": 2_000}
"""Enough for a lesson of minutes on two cores; there are 60,000 to train on and 10,000 to test."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; it halves the picture."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map [rows, before, height, width] to [rows, after, height / 2, width / 2]."""
        return torch.relu(self.inner(values) + self.shortcut(values))


def build_model() -> nn.Module:
    """Return the dense network, with more channels than ten kinds of clothes need."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Block(32, 64),
        Block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, len(CLASSES)),
    )


def load_data() -> Data:
    """Return the first rows of the published files; validation is the end of the training file.

    Raises
    ------
    FileNotFoundError
        Neither folder holds the files; the message says how to get them.
    """
    folder = _folder()
    return Data(
        train=_split(folder, "train", slice(0, ROWS["train"])),
        validation=_split(folder, "train", slice(-ROWS["validation"], None)),
        holdout=_split(folder, "t10k", slice(0, ROWS["holdout"])),
        classes=CLASSES,
        source="Fashion-MNIST, Zalando Research (Debian package dataset-fashion-mnist)",
        licence="MIT",
    )


def _folder() -> Path:
    named = os.environ.get(VARIABLE)
    folder = Path(named).expanduser() if named else DEBIAN
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        message = (
            f"{folder} lacks {', '.join(missing)}: install Debian's or Ubuntu's package "
            "dataset-fashion-mnist (sudo apt install dataset-fashion-mnist), or set "
            f"{VARIABLE} to a folder that holds the four files"
        )
        raise FileNotFoundError(message)
    return folder


def _split(folder: Path, part: str, rows: slice) -> Split:
    pictures = read(folder / f"{part}-images-idx3-ubyte.gz")[rows]
    kinds = read(folder / f"{part}-labels-idx1-ubyte.gz")[rows]
    return Split(
        inputs={"pixels": (pictures[:, None] / 255.0).astype(np.float32)},
        targets=kinds.astype(np.int64),
        # What covers little of the picture has little ink to be recognised by.
        slices={"cover": np.where((pictures > 0).mean(axis=(1, 2)) < 0.4, "slim", "full")},
    )


def read(path: Path) -> np.ndarray:
    """Read an idx file: pictures [rows, 28, 28] or kinds [rows], uint8.

    Four bytes (two zeros, the type, the number of dimensions), the dimensions as big-endian 32-bit
    numbers, then the values.
    """
    raw = gzip.decompress(path.read_bytes())
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
