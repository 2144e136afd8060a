"""The networks of the pruning matrix: one tiny one of each kind, with data that it can learn.

`build` is a user's factory: first weights by torch's generator (seed it with `network.build`), then
everything that starts at 0 or 1 (biases, norms, running statistics) is drawn too, because a wrong
cut of equal numbers would not show. Widths are multiples of 8, so recipes may align to 8.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from coppice import labels, project
from tests.support import networks

ROWS = {"train": 192, "validation": 64, "holdout": 96}
TOKENS, STEPS, SIGNALS, USERS, ITEMS = 12, 6, 4, 20, 30


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A factory, the data, and the task; what a project's module and settings say."""

    build: Callable[[], nn.Module]
    data: Callable[[], project.Data]
    task: labels.Task

    def model(self, seed: int = 0) -> nn.Module:
        """Build with torch seeded, ready to answer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().eval()

    def rows(self, count: int = 4) -> dict[str, torch.Tensor]:
        """Return the first rows of the holdout as tensors."""
        inputs = self.data().holdout.take(np.arange(count)).inputs
        return {name: torch.tensor(array) for name, array in inputs.items()}


def unsettled(model: nn.Module) -> nn.Module:
    """Draw everything that a layer starts at 0 or 1: biases, norms and their running statistics."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.uniform_(-0.3, 0.3)
        for module in model.modules():
            if isinstance(module, norms) and module.weight is not None:
                module.weight.uniform_(0.6, 1.4)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.uniform_(-0.3, 0.3)
            if name.endswith("running_var"):
                buffer.uniform_(0.6, 1.4)
    return model


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = (
            nn.Conv2d(before, after, 1, stride) if before != after or stride > 1 else nn.Identity()
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first_norm(self.first(values)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(values))


class ResidualCnn(nn.Module):
    """Images [1, 8, 8]: two stages, each with a block that keeps its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(16, 16),
            ResidualBlock(16, 32, stride=2),
            ResidualBlock(32, 32),
        )
        self.head = nn.Linear(32, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(image)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Separable(nn.Module):
    """A convolution per channel, then one across channels, beside a shortcut if shapes allow."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.depth_norm = nn.BatchNorm2d(before)
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(after)
        self.joins = before == after and stride == 1

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        inner = torch.clamp(self.depth_norm(self.depth(values)), 0.0, 6.0)
        inner = self.point_norm(self.point(inner))
        return values + inner if self.joins else torch.relu(inner)


def depthwise_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Separable(16, 24, stride=2),
        Separable(24, 24),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 3),
    )


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 24),
        nn.GELU(),
        nn.Linear(24, 2),
    )


class Lstm(nn.Module):
    """Signals [steps, 4], the last step's output read by index."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(SIGNALS, 24, batch_first=True)
        self.head = nn.Linear(24, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cells(signals)
        return self.head(outputs[:, -1])  # type: ignore[no-any-return]


class DeepLstm(nn.Module):
    """Embedded tokens, two layers with the steps first, the last layer's last state read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.LSTM(16, 24, num_layers=2, dropout=0.1)
        self.head = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.cells(self.embed(tokens).transpose(0, 1))
        return self.head(hidden[-1])  # type: ignore[no-any-return]


class BiLstm(nn.Module):
    """Embedded tokens, both directions, the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cells(self.embed(tokens))
        return self.head(outputs.mean(dim=1))  # type: ignore[no-any-return]


class Gru(nn.Module):
    """Signals [steps, 4] through a linear layer; a regression on the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(SIGNALS, 16)
        self.cells = nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        _, hidden = self.cells(torch.relu(self.project(signals)))
        return self.head(hidden[-1])  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Embedded tokens, learned positions, two of torch's encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 32)
        self.positions = nn.Parameter(torch.randn(1, STEPS, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.embed(tokens) + self.positions)
        return self.head(hidden.mean(dim=1))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Norms first, then attention and two linear layers, each beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend_norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.wide_norm = nn.LayerNorm(width)
        self.wide = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        normed = self.attend_norm(values)
        mixed, _ = self.attend(normed, normed, normed, need_weights=False)
        values = values + mixed
        return values + self.wide(self.wide_norm(values))  # type: ignore[no-any-return]


class AttentionNet(nn.Module):
    """Signals and looked-up positions through blocks around nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(SIGNALS, 32)
        self.places = nn.Embedding(STEPS, 32)
        self.blocks = nn.ModuleList([AttentionBlock(32, 4), AttentionBlock(32, 2)])
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        hidden = self.project(signals) + self.places(torch.arange(signals.shape[1]))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden).mean(dim=1))  # type: ignore[no-any-return]


class Recommender(nn.Module):
    """Embeddings of users and items, read as a product and, joined, by a tower."""

    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(USERS, 16)
        self.items = nn.Embedding(ITEMS, 16)
        self.tower = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU())
        self.head = nn.Linear(32, 2)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        user, item = self.users(user), self.items(item)
        joined = self.tower(torch.cat([user, item], dim=1))
        return self.head(torch.cat([user * item, joined], dim=1))  # type: ignore[no-any-return]


def images(count: int, seed: int) -> project.Split:
    return networks.rows(count, seed)


def vectors(count: int, seed: int) -> project.Split:
    return networks.vectors(count, seed)


def signals(count: int, seed: int) -> project.Split:
    """Noise [steps, 4] in float32; the class is whether the first signal rises."""
    values, rise = _rising(count, seed)
    return project.Split(inputs={"signals": values}, targets=(rise > 0).astype(np.int64))


def amounts(count: int, seed: int) -> project.Split:
    """The same signals; the target is how much the first one rises."""
    values, rise = _rising(count, seed)
    return project.Split(inputs={"signals": values}, targets=5.0 * rise)


def _rising(count: int, seed: int) -> tuple[project.Array, np.ndarray]:
    random = np.random.default_rng(seed)
    rise = random.normal(size=count)
    values = random.normal(size=(count, STEPS, SIGNALS))
    values[:, :, 0] += rise[:, None] * np.linspace(-1.0, 1.0, STEPS)
    return values.astype(np.float32), rise


def tokens(count: int, seed: int) -> project.Split:
    """Token ids [steps]; the class is whether the upper half of the ids is in the majority."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, TOKENS, size=(count, STEPS))
    upper = (ids >= TOKENS // 2).mean(axis=1)
    return project.Split(inputs={"tokens": ids}, targets=(upper > 0.5).astype(np.int64))


def visits(count: int, seed: int) -> project.Split:
    """Pairs of ids; the class is whether the two together lie above the middle."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, USERS, count), random.integers(0, ITEMS, count)
    above = user / USERS + item / ITEMS > 1.0
    return project.Split(inputs={"user": user, "item": item}, targets=above.astype(np.int64))


def made(
    factory: Callable[[], nn.Module],
    rows: Callable[[int, int], project.Split],
    task: labels.Task = "binary",
) -> Architecture:
    return Architecture(
        functools.partial(_build, factory), functools.partial(_data, rows, task), task
    )


def _build(factory: Callable[[], nn.Module]) -> nn.Module:
    return unsettled(factory())


def _data(rows: Callable[[int, int], project.Split], task: labels.Task) -> project.Data:
    train, validation, holdout = (rows(count, seed) for seed, count in enumerate(ROWS.values()))
    count = 0 if task == "regression" else int(train.targets.max()) + 1
    return project.Data(
        train=train,
        validation=validation,
        holdout=holdout,
        classes=tuple(f"class {index}" for index in range(count)),
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    "residual-cnn": made(ResidualCnn, images, "multiclass"),
    "depthwise-cnn": made(depthwise_cnn, images, "multiclass"),
    "mlp": made(mlp, vectors),
    "lstm": made(Lstm, signals),
    "lstm-2-layers": made(DeepLstm, tokens),
    "bi-lstm": made(BiLstm, tokens),
    "gru": made(Gru, amounts, "regression"),
    "transformer": made(Transformer, tokens),
    "attention-block": made(AttentionNet, signals),
    "recommender": made(Recommender, visits),
}
"""By the names that tests and tables use."""
