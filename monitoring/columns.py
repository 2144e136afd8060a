"""The kinds of monitoring columns, and what a drift look says of each kind apart (pure).

The names are those of `coppice.features`: `score...` and `confidence` are the version's answers,
`embedding...` is its own view of the inputs, `input...` are the inputs themselves. One calibrated
look over all columns stands behind every kind, so the kinds share its false-alarm rate.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from monitoring import drift

Kind: TypeAlias = Literal["answers", "embedding", "inputs"]
KINDS: tuple[Kind, ...] = ("answers", "embedding", "inputs")


class KindLook(msgspec.Struct, frozen=True):
    """What one window shows in the columns of one kind."""

    columns: int
    """How many could be compared."""
    ratio: float
    """Of the farthest: how far it is on its way to its threshold; at 1 and above it alarms."""
    worst: tuple[str, ...]
    """Columns past their threshold, the farthest first."""


def kind_of(name: str) -> Kind:
    """Say what a monitoring column tells about.

    >>> [kind_of(name) for name in ("score.yes", "confidence", "embedding.pca0", "input.x[3]")]
    ['answers', 'answers', 'embedding', 'inputs']
    """
    if name.startswith("input."):
        return "inputs"
    return "embedding" if name.startswith("embedding.") else "answers"


def by_kind(look: drift.DriftLook) -> dict[Kind, KindLook]:
    """Take a look apart; a kind without a column that could be compared is left out.

    >>> look = drift.DriftLook(
    ...     400, {}, {"score.a": 0.2, "input.x": 3.0, "input.y": 1.5}, {}, True, "drifts")
    >>> by_kind(look)["inputs"]
    KindLook(columns=2, ratio=3.0, worst=('input.x', 'input.y'))
    """
    found: dict[Kind, KindLook] = {}
    for kind in KINDS:
        ratios = [ratio for name, ratio in look.ratios.items() if kind_of(name) == kind]
        if ratios:
            worst = tuple(name for name in look.worst if kind_of(name) == kind)
            found[kind] = KindLook(len(ratios), max(ratios), worst)
    return found
