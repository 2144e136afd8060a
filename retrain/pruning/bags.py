"""Bags of look-ups: what stands for nn.EmbeddingBag while tracing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from retrain.pruning import layers, standins


class Bag(standins.StandIn):
    """Stands for nn.EmbeddingBag: a linear layer that reads nothing of the indices."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__(real)
        assert isinstance(real, nn.EmbeddingBag)
        self.table = standins.linear(1, real.embedding_dim, real.weight)

    def parts(self) -> Iterator[standins.Part]:
        """Yield the one part."""
        out = layers.Loss((layers.Slot("weight", 1),), ("embedding_dim",))
        yield standins.Part(self.table, out, "a table reads indices, not channels")

    def forward(
        self,
        indices: torch.Tensor,
        offsets: torch.Tensor | None = None,
        per_sample_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Give a row for each bag, in the shape of the real layer."""
        del per_sample_weights
        real = cast("nn.EmbeddingBag", self.held[0])
        rows = len(indices) if offsets is None else len(offsets) - int(real.include_last_offset)
        return cast("torch.Tensor", self.table(self.table.weight.new_ones(rows, 1)))


STAND_INS: standins.Kinds = (((nn.EmbeddingBag,), Bag),)
