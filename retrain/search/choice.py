"""What is asked of a search, what is known of shapes, and which of them to take: pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from retrain.pruning import recipe
from retrain.search import gauge, probes, terms


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    base
        The recipe whose blocks and widths are to be chosen.
    leave_out
        Whether blocks may be left out, too.
    terms
        The target, and on what it is measured.
    at_least
        How many times better than dense the cost must become; `None` asks for the best cost within
        the budget.
    budget
        What the pruning may lose; `None` for whatever it takes, where `at_least` is asked for.
    effort
        Of each probe; a race takes a quarter of it.
    structures
        Most structures to measure.
    sensitivity_rows
        Validation rows of the sensitivity sweep.
    minutes
        Of the whole search; `None` for no end.
    """

    base: recipe.Recipe
    leave_out: bool = True
    terms: terms.Terms
    budget: probes.Budget | None
    at_least: float | None = None
    effort: probes.Effort
    structures: int = 120
    sensitivity_rows: int = 1000
    minutes: float | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A shape on or off the front, and what is known of it."""

    out: tuple[str, ...] = ()
    """Blocks that are left out, in the order in which they go."""
    widths: dict[str, int]
    """Units that stay of each group."""
    cost: gauge.Cost
    damage: float
    """Predicted, by the sensitivity sweep."""
    on_front: bool = False
    probe: probes.Probe | None = None
    met: bool | None = None
    """Whether the probe met the budget; `None` without a probe."""


def choose(entries: Sequence[Entry], wish: Wish) -> int | None:
    """Return the place of the best entry that was probed, `None` where none was. Pure.

    Within a budget that is the cheapest one that meets it; where a cost is asked for, the one that
    loses least of those that reach it. Where none does, the nearest.
    """
    probed = [place for place, entry in enumerate(entries) if entry.probe is not None]
    if not probed:
        return None
    good = [place for place in probed if does(entries[place], entries[place].cost, wish)]
    if good and wish.at_least is None:
        return max(good, key=lambda place: entries[place].cost.gain)
    if wish.at_least is None:
        return min(probed, key=lambda place: _excess(entries[place], wish))
    return min(good or probed, key=lambda place: _loss(entries[place]))


def does(entry: Entry, cost: gauge.Cost, wish: Wish) -> bool:
    """Say whether an entry does what is asked for, at a cost that was measured of it.

    A gain that is timed may be unlucky, so it falls short only where its interval does.
    """
    reached = wish.at_least is None or cost.high >= wish.at_least
    return reached and bool(entry.met)


def _loss(entry: Entry) -> float:
    assert entry.probe is not None
    return entry.probe.expected.loss


def _excess(entry: Entry, wish: Wish) -> float:
    assert entry.probe is not None
    assert wish.budget is not None
    return wish.budget.excess(entry.probe)
