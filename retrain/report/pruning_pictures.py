"""Pictures of prunings as SVG: quality against speed, widths before and after, sensitivities.

Called by the pages of a card and of a sweep, and by the search for widths. Takes plain values;
gives one `svg` element each, whose bytes follow from the values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrain.report import pictures, prunings

MARKERS = "osD^vPXp<>h*d"
"""Series are told apart by shape, too, for those who see colours alike."""
BAR = 0.17
"""Inches for each group, so that its name beside the bar can be read."""
PALE, STRONG = "#c3cfd9", "#2a6f97"


def trade(
    points: Sequence[prunings.Point],
    *,
    title: str,
    place: str,
    quality: str = "mean score",
    gain: str = "times as fast as the dense parent, measured",
    dense: float | None = None,
) -> str:
    """Draw quality against measured speed, with the front of the points that nothing beats.

    Parameters
    ----------
    quality, gain
        Names of the axes.
    dense
        The dense parent's quality, drawn at gain 1.
    """
    whole = [] if dense is None else [prunings.dense(dense)]
    best = prunings.front([*whole, *points])

    def paint(axes: Any) -> None:
        for each in whole:
            axes.plot(each.gain, each.quality, "k*", markersize=9, label=each.series, ls="none")
        series = list(dict.fromkeys(point.series for point in points))
        for number, name in enumerate(series):
            _series(axes, [each for each in points if each.series == name], number)
        if len(best) > 1:
            x, y = [each.gain for each in best], [each.quality for each in best]
            axes.plot(x, y, "--", color="#3c3c3c", linewidth=1.0, label="front", zorder=1)
        for point in best:
            axes.annotate(
                point.label,
                (point.gain, point.quality),
                textcoords="offset points",
                xytext=(4, 5),
                fontsize=7.5,
            )
        axes.axvline(1.0, color="#b5b5b5", linewidth=0.8, zorder=0)
        axes.set(xlabel=gain, ylabel=quality)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.08)
        _legend(axes, len(series) + 2)

    rows = (len({point.series for point in points}) + 2 + 2) // 3
    height = pictures.HEIGHT + 0.5 + 0.19 * rows
    return pictures.draw(paint, title, place, height, _trade_words(points, best, quality))


def _series(axes: Any, points: Sequence[prunings.Point], number: int) -> None:
    axes.errorbar(
        [each.gain for each in points],
        [each.quality for each in points],
        xerr=np.array([_arms(each) for each in points]).T,
        yerr=[each.spread for each in points],
        fmt=MARKERS[number % len(MARKERS)],
        color=pictures.COLOURS[number % len(pictures.COLOURS)],
        markersize=5,
        elinewidth=0.8,
        capsize=2,
        label=points[0].series,
    )


def _arms(point: prunings.Point) -> tuple[float, float]:
    low = point.gain if point.low is None else point.low
    high = point.gain if point.high is None else point.high
    return max(point.gain - low, 0.0), max(high - point.gain, 0.0)


def _legend(axes: Any, entries: int) -> None:
    # Below, where it hides no point however many there are.
    axes.legend(
        fontsize=7.5,
        frameon=False,
        ncols=min(entries, 3),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
    )


def _trade_words(
    points: Sequence[prunings.Point], best: Sequence[prunings.Point], quality: str
) -> str:
    front = "; ".join(
        f"{each.series} {each.label}".rstrip()
        + f": {each.gain:.2f} times as fast, {quality} {each.quality:.4f}"
        for each in best
    )
    return f"{len(points)} points. Not beaten in both: {front or 'none'}."


def widths(found: Sequence[prunings.Width], *, title: str, place: str) -> str:
    """Draw how wide each group was (pale) and is (strong), as lying bars, a share of what it was.

    The numbers stand at the end of each bar; groups of 8 and of 2048 channels can both be read.
    """
    names = [_shortened(width.name) for width in found]

    def paint(axes: Any) -> None:
        places = range(len(found))
        axes.barh(places, [1.0] * len(found), 0.78, color=PALE, label="before")
        shares = [width.after / max(width.before, 1) for width in found]
        axes.barh(places, shares, 0.78, color=STRONG, label="after")
        for at, width in enumerate(found):
            text = f"{width.before} > {width.after}" if width.after != width.before else "whole"
            axes.text(1.02, at, text, va="center", fontsize=7)
        axes.set_yticks(list(places), names, fontsize=7)
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(0.0, 1.28)
        axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25%", "50%", "75%", "100%"])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="share that stays")

    height = 0.75 + BAR * max(len(found), 3)
    told = "; ".join(f"{width.name}: {width.before} before, {width.after} after" for width in found)
    return pictures.draw(paint, title, place, height, told)


def _shortened(name: str, most: int = 26) -> str:
    """Keep the end of a name, which tells layers apart.

    >>> _shortened("encoder.layers.11.attention", most=15)
    '...11.attention'
    """
    return name if len(name) <= most else f"...{name[3 - most :]}"


def sensitivity(found: Sequence[prunings.Sensitivity], *, title: str, place: str) -> str:
    """Draw what the score loses when one group alone is cut, as a grid of groups by amounts."""
    names = list(dict.fromkeys(each.name for each in found))
    amounts = sorted({each.amount for each in found})
    drops = {(each.name, each.amount): each.drop for each in found}
    most = max([*(abs(drop) for drop in drops.values()), 1e-9])

    def paint(axes: Any) -> None:
        grid = [[drops.get((name, amount), float("nan")) for amount in amounts] for name in names]
        axes.imshow(grid, cmap="Blues", vmin=0.0, vmax=most, aspect="auto")
        for row, values in enumerate(grid):
            for column, drop in enumerate(values):
                # A pale letter on a dark field, a dark one on a pale field.
                colour = "#ffffff" if drop > 0.6 * most else "#1d2a24"
                text = "" if drop != drop else f"{100 * drop:.1f}"  # noqa: PLR0124 - NaN
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(amounts)), [f"{100 * amount:g}%" for amount in amounts])
        axes.set_yticks(range(len(names)), [_shortened(name) for name in names], fontsize=7)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set(xlabel="cut from this group alone; points of score lost")

    height = 0.8 + BAR * max(len(names), 3)
    told = "; ".join(
        f"{each.name} at {100 * each.amount:g}%: {100 * each.drop:.2f} points" for each in found
    )
    return pictures.draw(paint, title, place, height, told)
