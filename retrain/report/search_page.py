"""A search for widths as a page: what was found in, one text out; nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import markupsafe

from retrain.report import page, pruning_pictures, prunings
from retrain.search import choice, loop

TEMPLATE = Path(__file__).parent / "search.html.j2"


def render(found: loop.Found, *, name: str, target: str, sentences: tuple[str, ...]) -> str:
    """Return the page of a search; it needs nothing beside it.

    Parameters
    ----------
    name
        Of the project.
    target
        What was to become less, in words.
    sentences
        What was found, for a reader.
    """
    drawn = [
        (title, markupsafe.Markup(svg))  # noqa: S704 - matplotlib escapes texts
        for title, svg in _pictures(found, target)
    ]
    return page.filled(TEMPLATE, {"name": name, "sentences": sentences, "pictures": drawn})


def _pictures(found: loop.Found, target: str) -> Iterator[tuple[str, str]]:
    points = probed(found)
    if points:
        title = f"Mean score after a short recovery against {target}"
        svg = pruning_pictures.trade(
            points,
            title=title,
            place="trade",
            gain=f"times less {target} than dense",
            dense=_control(found),
        )
        yield title, svg
    if found.chosen is not None:
        title = "Widths before and after"
        kept = found.entries[found.chosen].widths
        pairs = [prunings.Width(name, found.units[name], count) for name, count in kept.items()]
        yield title, pruning_pictures.widths(pairs, title=title, place="widths")
    if found.sensitivity:
        title = "What each group is worth, cut alone and without training"
        swept = [
            prunings.Sensitivity(name=p.group, amount=1.0 - p.kept / p.units, drop=p.drop)
            for p in found.sensitivity
        ]
        yield title, pruning_pictures.sensitivity(swept, title=title, place="sensitivity")


def probed(found: loop.Found) -> list[prunings.Point]:
    """Return every probe as a point, by whether it met the budget."""
    return [
        prunings.Point(
            series="meets the budget" if entry.met else "misses the budget",
            label=_label(found, entry),
            gain=entry.cost.gain,
            quality=entry.probe.score,
            low=entry.cost.low,
            high=entry.cost.high,
        )
        for entry in found.entries
        if entry.probe is not None
    ]


def _label(found: loop.Found, entry: choice.Entry) -> str:
    fewer = f"{found.dense.macs / entry.cost.macs:.1f}x fewer MACs"
    return f"{fewer}, {len(entry.out)} blocks out" if entry.out else fewer


def _control(found: loop.Found) -> float | None:
    scores = [entry.probe.control for entry in found.entries if entry.probe is not None]
    return scores[0] if scores else None
