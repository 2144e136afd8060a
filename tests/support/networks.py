"""Tiny networks of every kind that can be pruned, with rows to match."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from coppice import project


def rows(count: int = 64, seed: int = 0) -> project.Split:
    """Images [1, 8, 8] of three classes that a small network can tell apart."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, count)
    images = random.normal(size=(count, 1, 8, 8)).astype(np.float32)
    images[np.arange(count), 0, targets * 2] += 2.0
    return project.Split(inputs={"image": images}, targets=targets)


def vectors(count: int = 64, seed: int = 0, width: int = 6) -> project.Split:
    """Rows of numbers whose first two say the class."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, width)).astype(np.float32)
    return project.Split(
        inputs={"values": values}, targets=(values[:, 0] + values[:, 1] > 0).astype(np.int64)
    )


def sequences(count: int = 64, seed: int = 0) -> project.Split:
    """Token ids [5] whose first one says the class."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, 10, size=(count, 5))
    return project.Split(inputs={"tokens": tokens}, targets=(tokens[:, 0] > 4).astype(np.int64))


def pairs(count: int = 64, seed: int = 0) -> project.Split:
    """Two inputs: numbers, and an image."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 4)).astype(np.float32)
    image = random.normal(size=(count, 1, 4, 4)).astype(np.float32)
    targets = (numbers[:, 0] + image.mean(axis=(1, 2, 3)) > 0).astype(np.int64)
    return project.Split(inputs={"numbers": numbers, "image": image}, targets=targets)


def amounts(count: int = 64, seed: int = 0) -> project.Split:
    """A regression: the target is a sum of the first two values, around 50."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 6)).astype(np.float32)
    return project.Split(
        inputs={"values": values}, targets=50.0 + 10.0 * (values[:, 0] + values[:, 1])
    )


def mlp(inputs: int = 6, outputs: int = 2) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, outputs)
    )


class Residual(nn.Module):
    """A stem and two residual blocks with BatchNorm, the second with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.first = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(32)
        )
        self.short = nn.Conv2d(16, 32, 1, stride=2)
        self.head = nn.Linear(32, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(image)
        hidden = hidden + self.first(hidden)
        hidden = torch.relu(self.short(hidden) + self.second(hidden))
        return self.head(hidden.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 32, 1),
        nn.PReLU(32),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 3),
    )


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, groups=4),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Conv2d(32, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


class Transformer(nn.Module):
    """Embedded tokens, learned positions, one encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.positions = nn.Parameter(torch.randn(1, 5, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.embed(tokens) + self.positions)
        return self.head(hidden.mean(dim=1))  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """A tower for each input, joined, then a gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Linear(4, 16)
        self.image = nn.Conv2d(1, 16, 3, padding=1)
        self.gate = nn.Linear(32, 32)
        self.head = nn.Linear(16, 2)

    def forward(self, numbers: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.image(image)).mean(dim=(2, 3))
        joined = torch.cat([torch.relu(self.numbers(numbers)), seen], dim=1)
        value, gate = self.gate(joined).chunk(2, dim=1)
        return self.head(value * torch.sigmoid(gate))  # type: ignore[no-any-return]


class HandAttention(nn.Module):
    """Attention written out, its head size fixed in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)
        query, key, value = (
            layer(hidden).view(-1, 5, 2, 8).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(2, 3) / 8**0.5).softmax(dim=3)
        mixed = (weights @ value).transpose(1, 2).reshape(-1, 5, 16)
        return self.head(mixed.mean(dim=1))  # type: ignore[no-any-return]


class Branches(nn.Module):
    """Looks at values on its way, which no export can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map [rows, 6] to [rows, 2]."""
        return self.head(values) * (1.0 if float(values.sum()) > 0 else 2.0)  # type: ignore[no-any-return]
