"""Networks of look-up tables as users write them: towers, products, fields, bags.

All read rows of `architectures.visits` or `architectures.tokens` and tell two classes apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tests.support import architectures

TOKENS, STEPS = architectures.TOKENS, architectures.STEPS
USERS, ITEMS = architectures.USERS, architectures.ITEMS


class DotProduct(nn.Module):
    """Two towers whose answers are multiplied and summed."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(USERS, 16), nn.Embedding(ITEMS, 24)
        self.user = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8))
        self.item = nn.Sequential(nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 8))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        score = (self.user(self.users(user)) * self.item(self.items(item))).sum(dim=1)
        return torch.stack([-score, score], dim=1)


class TwoTables(nn.Module):
    """A table for the product, and another for the tower."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.ModuleList([nn.Embedding(USERS, 8), nn.Embedding(ITEMS, 8)])
        self.towers = nn.ModuleList([nn.Embedding(USERS, 16), nn.Embedding(ITEMS, 12)])
        self.deep = nn.Sequential(nn.Linear(28, 16), nn.ReLU(), nn.Linear(16, 8))
        self.head = nn.Linear(16, 2)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        product = self.factors[0](user) * self.factors[1](item)
        deep = self.deep(torch.cat([self.towers[0](user), self.towers[1](item)], dim=-1))
        return self.head(torch.cat([product, torch.relu(deep)], dim=-1))  # type: ignore[no-any-return]


class Fields(nn.Module):
    """One table for all fields of a row, laid side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, 16)
        self.tower = nn.Sequential(nn.Linear(STEPS * 16, 24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.tower(self.table(tokens).view(tokens.shape[0], -1))  # type: ignore[no-any-return]


class Factorization(nn.Module):
    """Half of the square of the sum less the sum of squares, for all pairs of fields."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = self.table(tokens)
        return self.head((rows.sum(dim=1) ** 2 - (rows**2).sum(dim=1)) / 2)  # type: ignore[no-any-return]


class Bag(nn.Module):
    """The mean of a row's look-ups, made by the table itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(TOKENS, 16)
        self.head = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(tokens))  # type: ignore[no-any-return]


NETWORKS: Mapping[str, architectures.Architecture] = {
    "dot product of towers": architectures.made(DotProduct, architectures.visits),
    "tables of their own": architectures.made(TwoTables, architectures.visits),
    "fields side by side": architectures.made(Fields, architectures.tokens),
    "factorization machine": architectures.made(Factorization, architectures.tokens),
    "bag": architectures.made(Bag, architectures.tokens),
}
"""By what is particular to each; all can be pruned."""
