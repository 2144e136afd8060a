"""Networks as users lay them out: inputs of several kinds joined, norms and slopes of all kinds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from coppice import project
from tests.support import architectures


class ImageAndNumbers(nn.Module):
    """Two flattened convolutions and a linear layer side by side, once more joined at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.wide = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.PReLU(), nn.MaxPool2d(4))
        self.told = nn.Linear(5, 24)
        self.mixed = nn.Linear(24 + 4 * 8 + 4 * 16, 24)
        self.head = nn.Linear(24 + 24 + 4 * 8 + 4 * 16, 2)

    def forward(self, numbers: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        fine = self.fine(image).flatten(1)
        seen = torch.cat([fine, self.wide(image).reshape(image.shape[0], -1)], dim=1)
        joined = torch.cat([torch.relu(self.told(numbers)), seen], dim=1)
        mixed = torch.relu(self.mixed(joined))
        return self.head(torch.cat([mixed, joined], dim=-1))  # type: ignore[no-any-return]


class RawBesideLearned(nn.Module):
    """Marks that nothing learns, a flattened table and numbers side by side; one joined twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.tower = nn.Linear(3 + 3 * 8 + 5, 24)
        self.head = nn.Linear(48, 2)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        marks = functional.one_hot(codes[:, 0] % 3, 3).float()
        hidden = torch.relu(
            self.tower(torch.cat((marks, self.table(codes).flatten(1), numbers), 1))
        )
        return self.head(torch.cat([hidden, hidden], dim=1))  # type: ignore[no-any-return]


class Match(nn.Module):
    """Two towers whose product is summed up into the one number that the last layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.asks, self.table = nn.Linear(5, 16), nn.Embedding(12, 16)
        self.head = nn.Linear(1, 2)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        product = self.asks(numbers) * self.table(codes).mean(dim=1)
        return self.head(product.sum(dim=-1, keepdim=True))  # type: ignore[no-any-return]


class ChannelNorm(nn.LayerNorm):
    """A layer norm that takes images."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as torch calls it
        last = input.permute(0, 2, 3, 1)
        normed = functional.layer_norm(
            last, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """A convolution per channel, then linear layers over channels that were put last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Sequential(nn.Linear(width, 40), nn.GELU(), nn.Linear(40, width))
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = self.depth(values).permute(0, 2, 3, 1)
        return values + (self.scale * self.wide(self.norm(inner))).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class ConvNext(nn.Module):
    """Two stages of such blocks, with a norm over the channels of images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 2, 2), ChannelNorm(16))
        self.first = ChannelsLast(16)
        self.down = nn.Sequential(ChannelNorm(16), nn.Conv2d(16, 24, 2, 2))
        self.second = ChannelsLast(24)
        self.head = nn.Linear(24, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.down(self.first(self.stem(image))))
        return self.head(hidden.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def instance_normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.InstanceNorm2d(16, affine=True, track_running_stats=True),
        nn.PReLU(),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.InstanceNorm2d(24, affine=True),
        nn.PReLU(24),
        nn.Conv2d(24, 16, 3),
        nn.InstanceNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 36, 3),
    )


def pictures(count: int, seed: int) -> project.Split:
    """Numbers and an image; the class is whether the first number and the image are bright."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 5)).astype(np.float32)
    image = random.normal(size=(count, 1, 8, 8)).astype(np.float32)
    bright = numbers[:, 0] + 8.0 * image.mean(axis=(1, 2, 3)) > 0.0
    return project.Split(
        inputs={"numbers": numbers, "image": image}, targets=bright.astype(np.int64)
    )


def coded(count: int, seed: int) -> project.Split:
    """Numbers and codes; the class is whether the first number and the first code are large."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 5)).astype(np.float32)
    codes = random.integers(0, 12, size=(count, 3))
    large = numbers[:, 0] + (codes[:, 0] - 5.5) / 4.0 > 0.0
    return project.Split(
        inputs={"numbers": numbers, "codes": codes}, targets=large.astype(np.int64)
    )


NETWORKS = {
    "image and numbers": architectures.made(ImageAndNumbers, pictures),
    "raw beside learned": architectures.made(RawBesideLearned, coded),
    "match": architectures.made(Match, coded),
    "convnext": architectures.made(ConvNext, architectures.images, "multiclass"),
    "instance norms": architectures.made(instance_normed, architectures.images, "multiclass"),
}
"""By what is particular to each; all can be pruned."""
