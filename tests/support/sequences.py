"""Recurrent networks as users write them: the ways to feed, chain and read such layers.

All read rows of `architectures.tokens` or `architectures.signals` and tell two classes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import rnn

from tests.support import architectures

TOKENS, STEPS, SIGNALS = architectures.TOKENS, architectures.STEPS, architectures.SIGNALS


class Reads(nn.Module):
    """Embedded tokens, a recurrent layer, and a function that makes features of what it gives."""

    def __init__(self, cells: nn.Module, read: Callable[[Any, Any], torch.Tensor], width: int):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells, self.read = cells, read
        self.head = nn.Linear(width, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(*self.cells(self.embed(tokens))))  # type: ignore[no-any-return]


def lstm(layers: int = 1, *, both: bool = False) -> nn.Module:
    return nn.LSTM(16, 16, layers, batch_first=True, bidirectional=both)


def gru(layers: int = 1, *, both: bool = False) -> nn.Module:
    return nn.GRU(16, 16, layers, batch_first=True, bidirectional=both)


class ImageRows(nn.Module):
    """Reads an image's rows as steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cells(image.squeeze(1).permute(0, 2, 1))
        return self.head(outputs[:, -1, :])  # type: ignore[no-any-return]


class Packed(nn.Module):
    """Sequences of different lengths, packed; token 0 is padding."""

    def __init__(self, *, padded: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16, padding_idx=0)
        self.cells = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 2)
        self.padded = padded

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        lengths = (tokens != 0).sum(dim=1).clamp(min=1).cpu()
        packed = rnn.pack_padded_sequence(
            self.embed(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        outputs, (hidden, _) = self.cells(packed)
        if not self.padded:
            return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))  # type: ignore[no-any-return]
        unpacked, _ = rnn.pad_packed_sequence(outputs, batch_first=True)
        return self.head(unpacked.mean(dim=1))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """A GRU whose steps are weighed by a small network."""

    def __init__(self, pool: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 1))
        self.pool = pool
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cells(self.embed(tokens))
        weights = torch.softmax(self.score(outputs), dim=1)
        return self.head(self.pool(weights, outputs))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Two recurrent layers, each beside a shortcut, and before a norm if so wished."""

    def __init__(self, *, both: bool = False, normed: bool = False) -> None:
        super().__init__()
        width = 8 if both else 16
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.ModuleList(
            nn.LSTM(16, width, batch_first=True, bidirectional=both) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(16) if normed else nn.Identity() for _ in range(2))
        self.head = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)
        for cells, norm in zip(self.cells, self.norms, strict=True):
            hidden = norm(hidden + cells(hidden)[0])
        return self.head(hidden.mean(dim=1))  # type: ignore[no-any-return]


class EncoderDecoder(nn.Module):
    """The last states of one layer are the first of another."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.encoder = nn.LSTM(16, 16, 2, batch_first=True)
        self.decoder = nn.LSTM(16, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded = self.embed(tokens)
        _, states = self.encoder(embedded)
        outputs, _ = self.decoder(embedded[:, :2], states)
        return self.head(outputs[:, -1])  # type: ignore[no-any-return]


class LearnedStart(nn.Module):
    """The first state is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.GRU(16, 16, batch_first=True)
        self.start = nn.Parameter(torch.randn(1, 1, 16))
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        start = self.start.expand(-1, tokens.shape[0], -1).contiguous()
        outputs, _ = self.cells(self.embed(tokens), start)
        return self.head(outputs[:, -1])  # type: ignore[no-any-return]


class ZeroStart(nn.Module):
    """The first state is made of zeros, its width written into the code or asked of the layer."""

    def __init__(self, *, asks: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.LSTM(16, 16, batch_first=True)
        self.asks = asks
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        width = self.cells.hidden_size if self.asks else 16
        zeros = torch.zeros(1, tokens.shape[0], width)
        outputs, _ = self.cells(self.embed(tokens), (zeros, zeros))
        return self.head(outputs[:, -1])  # type: ignore[no-any-return]


class Cells(nn.Module):
    """A loop over the steps, written out."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cell = cell
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        state = None
        for step in self.embed(tokens).unbind(dim=1):
            state = self.cell(step, state)
        assert state is not None
        return self.head(state[0] if isinstance(state, tuple) else state)  # type: ignore[no-any-return]


class ConvolutionFirst(nn.Module):
    """Convolutions along time, then a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Sequential(
            nn.Conv1d(SIGNALS, 16, 3, padding=1), nn.BatchNorm1d(16), nn.ReLU()
        )
        self.cells = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        hidden = self.filters(signals.transpose(1, 2)).transpose(1, 2)
        return self.head(self.cells(hidden)[1][-1])  # type: ignore[no-any-return]


class ReadsImage(nn.Module):
    """Convolutions, then their columns as steps: channels and rows joined into one width."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.cells = nn.LSTM(32, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        columns = self.filters(image).permute(0, 3, 1, 2).flatten(2)
        return self.head(self.cells(columns)[0].mean(dim=1))  # type: ignore[no-any-return]


class AttentionAfter(nn.Module):
    """Attention over what a bidirectional layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.cells = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.attend = nn.MultiheadAttention(32, 4, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.cells(self.embed(tokens))
        mixed, _ = self.attend(outputs, outputs, outputs, need_weights=False)
        return self.head(mixed.mean(dim=1))  # type: ignore[no-any-return]


class TwoCells(nn.Module):
    """One layer after the other, written as two modules, a linear layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(SIGNALS, 24)
        self.between = nn.Linear(24, 16)
        self.second = nn.RNN(16, 24, 2, nonlinearity="relu")
        self.head = nn.Linear(24, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.first(signals.transpose(0, 1))
        outputs, _ = self.second(torch.relu(self.between(outputs)))
        return self.head(outputs[-1])  # type: ignore[no-any-return]


def _ends(hidden: torch.Tensor) -> torch.Tensor:
    return torch.cat([hidden[-2], hidden[-1]], dim=1)


def _dot(outputs: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Weigh the steps by how near they are to the last state."""
    last = hidden[-1]
    weights = torch.softmax(torch.bmm(outputs, last.unsqueeze(2)).squeeze(2), dim=1)
    context = torch.bmm(weights.unsqueeze(1), outputs).squeeze(1)
    return torch.cat([context, last], dim=1)


def _reads(
    cells: Callable[[], nn.Module], read: Callable[[Any, Any], torch.Tensor], width: int
) -> architectures.Architecture:
    return architectures.made(lambda: Reads(cells(), read, width), architectures.tokens)


NETWORKS: Mapping[str, architectures.Architecture] = {
    "last step by index": _reads(lstm, lambda out, _: out[:, -1, :], 16),
    "mean over time": _reads(lambda: gru(2), lambda out, _: out.mean(dim=1), 16),
    "maximum over time": _reads(lambda: gru(both=True), lambda out, _: out.max(dim=1).values, 32),
    "adaptive pool": _reads(
        lstm,
        lambda out, _: nn.functional.adaptive_avg_pool1d(out.transpose(1, 2), 1).squeeze(-1),
        16,
    ),
    "mean and maximum": _reads(
        lstm, lambda out, _: torch.cat([out.mean(dim=1), out.amax(dim=1)], dim=1), 32
    ),
    "last state of one": _reads(gru, lambda _, hidden: hidden.squeeze(0), 16),
    "last state of the top": _reads(lambda: lstm(3), lambda _, states: states[0][-1], 16),
    "cell state": _reads(lstm, lambda _, states: states[1][-1], 16),
    "both states": _reads(
        lstm, lambda _, states: torch.cat([states[0][-1], states[1][-1]], dim=1), 32
    ),
    "states of both directions": _reads(
        lambda: gru(2, both=True), lambda _, hidden: _ends(hidden), 32
    ),
    "states of both directions, lstm": _reads(
        lambda: lstm(both=True), lambda _, states: _ends(states[0]), 32
    ),
    "states of both layers": _reads(
        lambda: gru(2), lambda _, hidden: torch.cat([hidden[0], hidden[1]], dim=-1), 32
    ),
    "states turned": _reads(
        lambda: gru(both=True),
        lambda _, hidden: hidden.transpose(0, 1).reshape(hidden.shape[1], -1),
        32,
    ),
    "states permuted": _reads(
        lambda: gru(2), lambda _, hidden: hidden.permute(1, 0, 2).flatten(1), 32
    ),
    "states by layer and direction": _reads(
        lambda: gru(2, both=True),
        lambda _, hidden: _ends(hidden.view(2, 2, hidden.shape[1], -1)[-1]),
        32,
    ),
    "mean of the states": _reads(lambda: gru(2), lambda _, hidden: hidden.mean(dim=0), 16),
    "one direction only": _reads(lambda: lstm(2, both=True), lambda _, states: states[0][-2], 16),
    "dot attention": _reads(gru, _dot, 32),
    "pooled by a product": architectures.made(
        lambda: Pooled(lambda weights, out: (weights * out).sum(dim=1)), architectures.tokens
    ),
    "pooled by bmm": architectures.made(
        lambda: Pooled(lambda weights, out: torch.bmm(weights.transpose(1, 2), out).squeeze(1)),
        architectures.tokens,
    ),
    "pooled by matmul": architectures.made(
        lambda: Pooled(lambda weights, out: (weights.transpose(1, 2) @ out)[:, 0]),
        architectures.tokens,
    ),
    "pooled by einsum": architectures.made(
        lambda: Pooled(lambda weights, out: torch.einsum("bti,bth->bh", weights, out)),
        architectures.tokens,
    ),
    "image rows": architectures.made(ImageRows, architectures.images, "multiclass"),
    "packed": architectures.made(lambda: Packed(padded=False), architectures.tokens),
    "packed and padded": architectures.made(lambda: Packed(padded=True), architectures.tokens),
    "residual": architectures.made(Residual, architectures.tokens),
    "residual, both directions": architectures.made(
        lambda: Residual(both=True), architectures.tokens
    ),
    "residual and norms": architectures.made(lambda: Residual(normed=True), architectures.tokens),
    "encoder and decoder": architectures.made(EncoderDecoder, architectures.tokens),
    "learned start": architectures.made(LearnedStart, architectures.tokens),
    "zero start": architectures.made(lambda: ZeroStart(asks=True), architectures.tokens),
    "lstm cell": architectures.made(lambda: Cells(nn.LSTMCell(16, 16)), architectures.tokens),
    "gru cell": architectures.made(lambda: Cells(nn.GRUCell(16, 16)), architectures.tokens),
    "rnn cell": architectures.made(lambda: Cells(nn.RNNCell(16, 16)), architectures.tokens),
    "convolution first": architectures.made(ConvolutionFirst, architectures.signals),
    "image columns": architectures.made(ReadsImage, architectures.images, "multiclass"),
    "attention after": architectures.made(AttentionAfter, architectures.tokens),
    "two modules": architectures.made(TwoCells, architectures.signals),
}
"""By what is particular to each; all can be pruned."""
