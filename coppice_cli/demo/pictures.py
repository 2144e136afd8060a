"""Pictures of a run, as inline SVG: accuracy over time, who answered, and what was scanned."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coppice import records
from coppice_cli.demo import follow, screen, traffic, world

COLOURS = ("#2a6f97", "#c1553b", "#5b8c3a", "#8e5ea2", "#b58900", "#3c3c3c")
BINS = 120
DECISIVE = ("promote", "rollback")


def draw(paint: Callable[[Any], None], *, width: float = 9.0, height: float = 3.0) -> str:
    """Paint on a fresh matplotlib figure and return it as an SVG element."""
    from matplotlib import figure

    canvas = figure.Figure(figsize=(width, height), layout="constrained")
    paint(canvas)
    text = io.StringIO()
    canvas.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def accuracy(
    answers: Sequence[traffic.Answered], facts: Sequence[follow.Fact], start: float
) -> str:
    """Draw the share of right answers over time, as clients saw it, with the decisions."""
    at = np.array([answer.at for answer in answers]) - start
    right = np.array([answer.right for answer in answers], dtype=float)
    edges = np.linspace(at.min(), at.max() + 1e-9, BINS + 1)
    counts = np.histogram(at, edges)[0]
    hits = np.histogram(at, edges, weights=right)[0]
    share = np.divide(hits, counts, out=np.full(BINS, np.nan), where=counts > 0)

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.plot((edges[:-1] + edges[1:]) / 2, share, color=COLOURS[0], linewidth=1.6)
        for fact in facts:
            _mark(axes, fact, start)
        axes.set(ylim=(0, 1.12), xlabel="seconds since the start", ylabel="right answers")
        axes.spines[["top", "right"]].set_visible(False)

    return draw(paint, height=3.4)


def _mark(axes: Any, fact: follow.Fact, start: float) -> None:
    word, _ = screen.describe(fact.record)
    shown = isinstance(fact.record, records.Rollout) and word in ("promoted", "rolled-back")
    if isinstance(fact.record, records.Verdict) and word == "decay":
        word, shown = f"decay: {fact.record.cause}", fact.record.cause != "undecided"
    if not shown:
        return
    colour = COLOURS[2] if word == "promoted" else COLOURS[1]
    axes.axvline(fact.at - start, color=colour, linewidth=1.0, alpha=0.8)
    axes.text(fact.at - start, 0.02, f" {word}", rotation=90, color=colour, fontsize=8)


def lanes(answers: Sequence[traffic.Answered], start: float) -> str:
    """Draw which version answered what share of the traffic."""
    at = np.array([answer.at for answer in answers]) - start
    edges = np.linspace(at.min(), at.max() + 1e-9, BINS + 1)
    versions = list(dict.fromkeys(answer.version for answer in answers))
    counts = np.array(
        [
            np.histogram([a.at - start for a in answers if a.version == version], edges)[0]
            for version in versions
        ]
    )
    shares = counts / np.maximum(counts.sum(axis=0), 1)

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        labels = [screen.short(version) for version in versions]
        middle = (edges[:-1] + edges[1:]) / 2
        axes.stackplot(middle, shares, labels=labels, colors=COLOURS, step="mid")
        axes.set(xlabel="seconds since the start", ylabel="share of the answers", ylim=(0, 1))
        axes.legend(loc="upper center", ncols=len(labels), fontsize=8, bbox_to_anchor=(0.5, 1.25))
        axes.spines[["top", "right"]].set_visible(False)

    return draw(paint, height=2.6)


def scans(pixels: world.Pixels) -> str:
    """Draw the same digits as the good scanner, the worn scanner and microfilm show them."""
    random = np.random.default_rng(0)
    kinds: dict[str, Callable[[world.Pixels], world.Pixels]] = {
        "good scanner": lambda clean: clean,
        "worn lamp": lambda clean: world.worn(clean, random),
        "microfilm": lambda clean: (1.0 - clean).astype(np.float32),
    }

    def paint(canvas: Any) -> None:
        grid = canvas.subplots(len(kinds), 10)
        for row, (name, change) in zip(grid, kinds.items(), strict=True):
            row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
            for column, axes in enumerate(row):
                axes.imshow(change(pixels[column, 0]), cmap="gray_r", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])

    return draw(paint, height=3.0)


def evidence(facts: Sequence[follow.Fact]) -> str:
    """Draw the evidence on which each candidate was decided, as natural logarithms."""
    decided = {
        fact.record.version: fact.record
        for fact in facts
        if isinstance(fact.record, records.Verdict) and fact.record.kind in DECISIVE
    }
    names = [f"{screen.short(version)}: {verdict.kind}" for version, verdict in decided.items()]

    def paint(canvas: Any) -> None:
        axes = canvas.subplots()
        rows = np.arange(len(names))
        for offset, side, colour in ((-0.2, "promote", COLOURS[2]), (0.2, "rollback", COLOURS[1])):
            logs = [verdict.evidence[side] for verdict in decided.values()]
            axes.barh(rows + offset, logs, height=0.36, color=colour, label=f"to {side}")
        axes.axvline(np.log(20), color="#888", linewidth=0.8)
        axes.set(yticks=rows, yticklabels=names, xlabel="log evidence")
        axes.invert_yaxis()
        axes.legend(fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)

    return draw(paint, height=1.2 + 0.5 * len(names))
