"""A sweep as a page and as a table in Markdown: a record in, texts out; nothing is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import markupsafe

from retrain.report import page, pruning_pictures, prunings
from retrain.sweep import record, summary

TEMPLATE = Path(__file__).parent / "sweep.html.j2"
MOST_WIDTHS = 6
"""Pictures of widths: of the front, where it is not longer than that."""


class Picture(NamedTuple):
    """A picture, and the name of its file."""

    name: str
    title: str
    svg: str


class Row(NamedTuple):
    """One line of the table, written for people; `edge` is against random choice."""

    criterion: str
    amount: str
    seeds: str
    score: str
    drop: str
    edge: str
    disagreement: str
    gain: str
    batch_gain: str
    eager_gain: str
    macs: str
    parameters: str
    graph_bytes: str
    zipped: str


HEADS = Row(
    criterion="criterion",
    amount="removed",
    seeds="seeds",
    score="mean score, %",
    drop="lost against null control, points",
    edge="above random choice, points",
    disagreement="differs from parent, %",
    gain="speed, 1 row",
    batch_gain=f"speed, {record.BATCH} rows",
    eager_gain="against dense in torch, 1 row",
    macs="MACs",
    parameters="parameters",
    graph_bytes="graph, bytes",
    zipped="zipped weights",
)
"""Of a sweep of classes."""


def heads(found: record.Sweep) -> Row:
    """Return what stands above the table: two values are never the same, but lie so far apart."""
    if found.task == "regression":
        return HEADS._replace(disagreement="distance from parent, % of the scale")
    return HEADS


def scored(found: record.Sweep) -> str:
    """Say what a score is, where it is not the share of right answers; else nothing."""
    if found.task != "regression":
        return ""
    return (
        f"A row scores 1 less its error over the scale of {found.scale:g} (units of the target), "
        "but at least 0: a point lost is an error that is larger by a hundredth of that scale, and "
        "the distance from the parent's answers is measured in the same way."
    )


def rows(found: record.Sweep) -> tuple[Row, ...]:
    """Return the table's lines."""
    edges = {(edge.criterion, edge.amount): edge for edge in found.edges}
    return tuple(
        Row(
            criterion=cell.criterion,
            amount=summary.percent(cell.amount),
            seeds=str(cell.seeds),
            score=_spread(cell.score, 100.0),
            drop=_spread(cell.drop, 100.0),
            edge=_edge(edges.get((cell.criterion, cell.amount))),
            disagreement=_spread(cell.disagreement, 100.0, 1),
            gain=_gain(cell.gains[1]),
            batch_gain=_gain(cell.gains[record.BATCH]),
            eager_gain=_gain(cell.eager_gains[1]),
            macs=f"{cell.macs:.2f}x less",
            parameters=f"{cell.parameters:.2f}x less",
            graph_bytes=f"{cell.graph_bytes:.2f}x less",
            zipped=f"{cell.zipped_bytes:.2f}x less",
        )
        for cell in summary.cells(found)
    )


def _gain(gain: summary.Gain) -> str:
    return f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f})"


def _spread(mean: summary.Mean, times: float = 1.0, digits: int = 2) -> str:
    text = f"{times * mean.value:z.{digits}f}"  # z: next to nothing is not written as -0
    return text if mean.spread is None else f"{text} ±{times * mean.spread:.{digits}f}"


def _edge(edge: record.Edge | None) -> str:
    if edge is None:
        return "-"
    text = f"{100 * edge.value:+.2f}"
    if edge.low is None or edge.high is None:
        return text
    return f"{text} ({100 * edge.low:+.2f} to {100 * edge.high:+.2f})"


def refused(found: record.Sweep) -> tuple[tuple[str, str, str], ...]:
    """Return criterion, amounts and reason of what was refused, each reason once."""
    reasons: dict[tuple[str, str], dict[float, None]] = {}
    for each in found.outcomes:
        if each.measured is None:
            amounts = reasons.setdefault((each.combination.criterion, each.refused), {})
            amounts[each.combination.amount] = None
    return tuple(
        (criterion, ", ".join(summary.percent(amount) for amount in amounts), reason)
        for (criterion, reason), amounts in reasons.items()
    )


def pictures(found: record.Sweep) -> tuple[Picture, ...]:
    """Draw the trade between score and speed for both sizes of a batch, and the front's widths."""
    trades = tuple(
        Picture(
            name=f"score-and-speed-{rows}",
            title=f"Mean score against measured speed, {_rows(rows)}",
            svg=pruning_pictures.trade(
                summary.points(found, rows),
                title=f"Mean score against measured speed, {_rows(rows)}",
                place=f"t{rows}",
                dense=found.score,
            ),
        )
        for rows in (1, record.BATCH)
    )
    return trades + tuple(
        _widths(criterion, amount, measured, number)
        for number, (criterion, amount, measured) in enumerate(on_front(found)[:MOST_WIDTHS])
        if measured.cut.widths
    )


def _rows(rows: int) -> str:
    return "one row at a time" if rows == 1 else f"{rows} rows at a time"


def _widths(criterion: str, amount: float, measured: record.Measured, number: int) -> Picture:
    title = f"Before and after: {criterion}, {summary.percent(amount)} removed"
    svg = pruning_pictures.widths(measured.cut.widths, title=title, place=f"w{number}")
    return Picture(name=f"widths-{criterion}-{100 * amount:.6g}", title=title, svg=svg)


def on_front(found: record.Sweep) -> tuple[tuple[str, float, record.Measured], ...]:
    """Return criterion, amount and first seed of what no other beats in score and speed."""
    points = [prunings.dense(found.score), *summary.points(found, 1)]
    best = {(each.series, each.label) for each in prunings.front(points)}
    cells = [
        cell
        for cell in summary.cells(found)
        if (cell.criterion, summary.percent(cell.amount)) in best
    ]
    return tuple(
        (cell.criterion, cell.amount, summary.measured_of(found, cell.criterion, cell.amount)[0])
        for cell in cells
    )


def render(found: record.Sweep, drawn: tuple[Picture, ...]) -> str:
    """Return the page of a sweep; it needs nothing beside it."""
    content: dict[str, Any] = {
        "found": found,
        "sentences": summary.sentences(found),
        "heads": heads(found),
        "scored": scored(found),
        "rows": rows(found),
        "refused": refused(found),
        "trades": [_shown(each) for each in drawn if each.name.startswith("score")],
        "widths": [_shown(each) for each in drawn if each.name.startswith("widths")],
        "front": [(each[0], each[1]) for each in on_front(found)],
    }
    return page.filled(TEMPLATE, content)


def _shown(picture: Picture) -> tuple[str, markupsafe.Markup]:
    return picture.title, markupsafe.Markup(picture.svg)  # noqa: S704 - matplotlib escapes texts


def markdown(found: record.Sweep) -> str:
    """Return the sweep's sentences and its table in Markdown."""
    lines = [f"# Sweep of {found.name}, level {found.base.level}", ""]
    lines += [*summary.sentences(found), "", _basis(found), ""]
    lines += [_line(heads(found)), _line(["---"] * len(HEADS))]
    lines += [_line(row) for row in rows(found)]
    away = refused(found)
    if away:
        lines += ["", "## Refused", "", _line(("criterion", "removed", "why")), _line(["---"] * 3)]
        lines += [_line(each) for each in away]
    return "\n".join(lines) + "\n"


def _basis(found: record.Sweep) -> str:
    left = f" {found.left} combinations are still to be done." if found.left else ""
    return (
        f"Scored on {found.rows:,} rows of the {found.scored} split; the dense parent scores "
        f"{100 * found.score:.2f}%. Speed is the dense parent's time over the pruned model's, on "
        f"one thread in the runtime that serves.{left} {scored(found)}".rstrip()
    )


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
