"""The pictures of a page: charts as SVG, rows as small grey images; both live inside the page."""

from __future__ import annotations

import base64
import html
import io
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrain.evaluate import section

COLOURS = ("#2a6f97", "#c1553b", "#4c7a2c", "#7d4f91", "#8a6d00", "#3c3c3c")
"""Dark enough to be told from white (contrast at least 4.5)."""
WIDTH, HEIGHT = 5.0, 3.0
"""Inches; two beside each other on a wide screen, one on a telephone with the same letters."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "coppice",
    "font.size": 9.0,
    "text.parse_math": False,
}
"""Texts stay texts, ids are the same each time, and a dollar sign in a label is one."""


def chart(found: section.Chart, place: str) -> str:
    """Draw a section's chart as an SVG element.

    Parameters
    ----------
    place
        A word of its own for every picture of a page, which keeps their ids apart.
    """
    paint = {"bars": _bars, "lines": _lines, "points": _points, "reliability": _reliability}
    height = HEIGHT
    if found.kind == "bars" and _lying(found):
        height = max(HEIGHT, 0.8 + 0.22 * len(found.labels) * max(len(found.series), 1))
    return draw(lambda axes: _whole(axes, found, paint[found.kind]), found.title, place, height)


def draw(
    paint: Callable[[Any], None],
    title: str,
    place: str,
    height: float = HEIGHT,
    description: str = "",
) -> str:
    """Draw one picture as an SVG element, whose bytes follow from the arguments alone.

    Parameters
    ----------
    paint
        Is given Matplotlib's axes.
    title, description
        For those who cannot see it.
    place
        A word of its own for every picture of a page, which keeps their ids apart.
    height
        In inches; the width is always the same.
    """
    import matplotlib as mpl
    from matplotlib import figure

    with mpl.rc_context(STYLE):
        canvas = figure.Figure(figsize=(WIDTH, height), layout="constrained")
        paint(canvas.subplots())
        text = io.StringIO()
        plain = {"Date": None, "Creator": None}
        canvas.savefig(text, format="svg", transparent=True, metadata=plain)
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{place}-", drawn)
    label = html.escape(title, quote=True)
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    if not description:
        return drawn
    # Screen readers take the first of each that they find.
    told = f"<title>{label}</title><desc>{html.escape(description)}</desc>"
    return re.sub(r"(<svg [^>]*>)", lambda found: found[1] + told, drawn, count=1)


def _whole(axes: Any, found: section.Chart, paint: Callable[[Any, section.Chart], None]) -> None:
    paint(axes, found)
    axes.spines[["top", "right"]].set_visible(False)
    if len(found.series) > 1 or found.kind == "reliability":
        axes.legend(fontsize=8, frameon=False)


def _lines(axes: Any, found: section.Chart) -> None:
    _plot(axes, found, "-o")


def _points(axes: Any, found: section.Chart) -> None:
    _plot(axes, found, "o")


def _plot(axes: Any, found: section.Chart, style: str) -> None:
    for colour, (name, points) in zip(_colours(found), found.series.items(), strict=True):
        x, y = _split(points)
        axes.plot(x, y, style, color=colour, markersize=3.5, linewidth=1.5, label=name)
    if found.labels:
        axes.set_xticks(range(len(found.labels)), found.labels, rotation=30, ha="right")
    axes.set(xlabel=found.x, ylabel=found.y)


def _reliability(axes: Any, found: section.Chart) -> None:
    ends = [value for points in found.series.values() for point in points for value in point]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    axes.plot([low, high], [low, high], color="#8a8a8a", linewidth=1.0, label="ideal")
    _plot(axes, found, "-o")


def _bars(axes: Any, found: section.Chart) -> None:
    lying, count = _lying(found), max(len(found.series), 1)
    width = 0.8 / count
    draw = axes.barh if lying else axes.bar
    for index, (colour, (name, points)) in enumerate(
        zip(_colours(found), found.series.items(), strict=True)
    ):
        x, y = _split(points)
        places = np.asarray(x) + (index - (count - 1) / 2) * width
        draw(places, y, width * 0.92, color=colour, label=name)
    if lying:
        axes.set_yticks(range(len(found.labels)), found.labels)
        axes.invert_yaxis()
        axes.axvline(0.0, color="#8a8a8a", linewidth=0.8)
        axes.set(xlabel=found.y, ylabel=found.x)
    else:
        if found.labels:
            axes.set_xticks(range(len(found.labels)), found.labels)
        axes.axhline(0.0, color="#8a8a8a", linewidth=0.8)
        axes.set(xlabel=found.x, ylabel=found.y)


def _lying(found: section.Chart) -> bool:
    # So many characters fit beneath a picture that holds sixty.
    return sum(len(label) + 2 for label in found.labels) > 60


def _colours(found: section.Chart) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(found.series))]


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def image(pixels: Sequence[Sequence[float]]) -> str:
    """Return a grey picture [h, w] in [0, 1], 1 being black ink, as a data URL of a PNG.

    References
    ----------
    Portable Network Graphics, third edition, W3C Recommendation (2025), clauses 5, 10 and 11.
    """
    rows = np.asarray(pixels, dtype=np.float64)
    grey = np.round(255.0 * (1.0 - np.clip(np.nan_to_num(rows), 0.0, 1.0))).astype(np.uint8)
    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = b"".join(b"\x00" + line.tobytes() for line in grey)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(lines, 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
