"""A real tiny project: a small CNN on some of scikit-learn's digit scans; trains in seconds."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from coppice.project import Data, Split

MODULE = "tests.support.digits"
CLASSES = tuple(str(digit) for digit in range(10))
ROWS = {"train": 500, "validation": 100, "holdout": 300, "traffic": 600}


def build_model() -> nn.Module:
    return nn.Sequential(
        *_block(1, 16),
        *_block(16, 32),
        nn.Flatten(),
        nn.Linear(4 * 32, 10),
    )


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(), nn.MaxPool2d(2)]


def load_data() -> Data:
    pieces = splits()
    return Data(
        train=pieces["train"],
        validation=pieces["validation"],
        holdout=pieces["holdout"],
        classes=CLASSES,
    )


def splits() -> dict[str, Split]:
    scans, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(digits))
    pen = np.where(np.arange(len(digits)) % 2 == 0, "ink", "lead")
    everything = Split(
        inputs={"pixels": (scans[order].reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)},
        targets=digits[order].astype(np.int64),
        slices={"pen": pen},
    )
    ends = np.cumsum(list(ROWS.values()))
    return {
        name: everything.take(np.arange(end - rows, end))
        for (name, rows), end in zip(ROWS.items(), ends, strict=True)
    }
