"""Handwritten digits: a small convolutional network on scikit-learn's real 8 x 8 scans.

A quarter of the scans come from microfilm, that is as negatives: the slice `medium`.

The data are the 1,797 scans of the UCI "Optical Recognition of Handwritten Digits" test set that
scikit-learn ships, so nothing is downloaded. Pixel values run from 0 (paper) to 16 (ink).
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from coppice.project import Data, Split

PIXELS = "pixels"
ROWS = {"train": 800, "validation": 120, "holdout": 320}
"""What is left of the 1,797 scans, 557 on paper, plays the part of the live traffic."""
CLASSES = tuple(str(digit) for digit in range(10))


def build_model() -> nn.Module:
    """Return the dense network, over-parameterised for this task on purpose."""
    return nn.Sequential(
        *_block(1, 48),
        *_block(48, 96),
        nn.MaxPool2d(2),
        *_block(96, 96),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 96, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def load_data() -> Data:
    """Return the splits; the order of the scans is drawn once, with a fixed seed."""
    pieces = splits()
    return Data(
        train=pieces["train"],
        validation=pieces["validation"],
        holdout=pieces["holdout"],
        classes=CLASSES,
        source="UCI Optical Recognition of Handwritten Digits, test set, as scikit-learn ships it",
        licence="CC-BY-4.0",
    )


def splits() -> dict[str, Split]:
    """Cut the shuffled scans into train, validation, holdout and the rest, `traffic`."""
    scans, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(digits))
    on_film = np.arange(len(digits)) % 4 == 0
    on_film[sum(ROWS.values()) :] = False
    everything = as_split(np.asarray(scans)[order], np.asarray(digits)[order], on_film)
    pieces, start = {}, 0
    for name, rows in [*ROWS.items(), ("traffic", len(digits) - sum(ROWS.values()))]:
        pieces[name] = everything.take(np.arange(start, start + rows))
        start += rows
    return pieces


def as_split(scans: np.ndarray, digits: np.ndarray, on_film: np.ndarray) -> Split:
    """Name the input and the slice: ink on `paper` is dark, on micro`film` it is a negative."""
    pixels = (scans.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    pixels[on_film] = 1.0 - pixels[on_film]
    medium = np.where(on_film, "film", "paper")
    return Split(
        inputs={PIXELS: pixels}, targets=digits.astype(np.int64), slices={"medium": medium}
    )
