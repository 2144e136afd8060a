"""How a finished candidate looks: figures beside those of its parent, gates, latency and size."""

from __future__ import annotations

from collections.abc import Iterator

import rich.console

from coppice import records
from coppice_cli import console
from retrain import card, gates
from retrain.evaluate import evaluation
from retrain.report import packings, prunings

COLUMNS: dict[evaluation.Column, str] = {
    "parent": "dense parent",
    "null": "null control",
    "candidate": "candidate",
    "champion": "champion",
}
"""Columns of an evaluation, by the words in which they are shown."""
SHARES = frozenset({"score", "calibration_error"})
"""Figures that are shares, so they are shown in percent."""
COLOURS = {"accepted": "green", "forced": "yellow", "refused": "bold red"}


def show(
    screen: rich.console.Console,
    made: records.Candidate,
    made_card: card.Card,
    cut: prunings.Cut | None = None,
) -> None:
    """Print what became of a candidate.

    Parameters
    ----------
    cut
        What was cut, where there is a record of it.
    """
    _evaluation(screen, "holdout", made_card.evaluation.holdout)
    if made_card.evaluation.production is not None:
        _evaluation(screen, "recent production", made_card.evaluation.production)
    show_gates(screen, made_card.gates)
    for line in (*what_was_cut(cut or prunings.Cut()), *size_and_speed(made_card)):
        screen.print(line, markup=False, soft_wrap=True)
    for warning in made_card.quality.warnings:
        screen.print("[yellow]warning:[/]", end=" ")
        screen.print(warning, markup=False, soft_wrap=True)
    screen.print(f"\n{made.version} [{COLOURS[made.status]}]{made.status}[/]", end="")
    screen.print(f": {_what_next(made)}", markup=False)


def _what_next(made: records.Candidate) -> str:
    match made.status:
        case "accepted":
            return "it is rolled out as soon as `coppice up` runs"
        case "forced":
            return "past its gates; it is rolled out as soon as `coppice up` runs"
        case "refused":
            return "kept in the registry to be looked at, never rolled out"


def _evaluation(screen: rich.console.Console, where: str, table: evaluation.Table) -> None:
    names: list[evaluation.Column] = [name for name in COLUMNS if name in table.columns]
    titles = [COLUMNS[name] for name in names]
    shown = console.table(f"{where}, {table.rows:,} rows", *titles, numbers=tuple(titles))
    for figure in next(iter(table.columns.values())):
        if figure != "rows":
            values = [_figure(figure, table.columns[name].get(figure)) for name in names]
            shown.add_row(figure.replace("_", " "), *values)
    screen.print(shown)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return console.percent(value, 2) if name in SHARES else f"{value:.4g}"


def show_gates(screen: rich.console.Console, results: tuple[gates.GateResult, ...]) -> None:
    """Show every gate in a line, and what the failed ones said in full."""
    table = console.table("gate", "", "measured", "limit", numbers=("measured", "limit"))
    for result in results:
        if not result.judged:
            continue
        mark = "[green]passed[/]" if result.passed else "[bold red]refused[/]"
        measured, limit = (_in_units(result, value) for value in (result.figure, result.threshold))
        table.add_row(console.plain(result.name), mark, measured, limit)
    screen.print(table)
    for sentence in gates.refusals(results):
        screen.print(sentence, markup=False, soft_wrap=True)
    excused = ", ".join(result.name for result in results if _is_excused(result))
    if excused:
        screen.print(
            f"past the limit, but not beyond what chance explains: {excused}",
            markup=False,
            soft_wrap=True,
        )
    if gates.not_judged(results):
        names = ", ".join(gates.not_judged(results))
        screen.print(f"not judged, because not measured: {names}", markup=False, soft_wrap=True)


def _unit(result: gates.GateResult) -> str:
    # Cards of the first schema leave the unit to the name.
    return result.unit or {"latency": "times", "min score": "share"}.get(result.name, "drop")


def _is_excused(result: gates.GateResult) -> bool:
    """Say whether a gate passed although its figure is past the limit: its interval is not."""
    if not result.passed or result.figure is None or _unit(result) == "share":
        return False
    short = result.threshold - result.figure
    return short > 0.0 if _unit(result) == "times" else short < 0.0


def _in_units(result: gates.GateResult, value: float | None) -> str:
    """Write a gate's figure in its unit: a gain, a share, or a change of score in points."""
    if value is None:
        return "-"
    match _unit(result):
        case "times":
            return console.ratio(value)
        case "share":
            return console.percent(value, 2)
        case "rise":
            return console.points(value)
        case _:
            # A gate speaks of the drop; a reader expects a loss to be negative.
            return console.points(-value)


def what_was_cut(cut: prunings.Cut) -> Iterator[str]:
    """Say in a line each what was left out, narrowed, set to zero, and left whole."""
    if cut.removed:
        yield f"left out: {', '.join(gone.module for gone in cut.removed)}"
    if cut.widths:
        yield f"widths: {prunings.in_short(cut.widths)}"
    if cut.masks:
        size = sum(mask.size for mask in cut.masks)
        zeros = size - sum(mask.kept for mask in cut.masks)
        yield f"single weights: {zeros:,} of {size:,} set to zero (no faster, smaller compressed)"
    if cut.whole:
        yield f"left whole: {', '.join(each.name for each in cut.whole)} (the page says why)"


def size_and_speed(made_card: card.Card) -> Iterator[str]:
    """Say how much smaller and how much faster the candidate is: MACs alone never count."""
    cost, latency = made_card.cost, made_card.evaluation.latency
    ratios = [
        f"{cost[f'parent_{what}'] / cost[f'candidate_{what}']:.2f} times fewer {words}"
        for what, words in {"macs": "MACs", "parameters": "parameters", "bytes": "bytes"}.items()
        if cost.get(f"candidate_{what}") and f"parent_{what}" in cost
    ]
    if latency is not None:
        yield (
            f"latency, batch 1: {console.duration(latency.candidate_seconds)} against "
            f"{console.duration(latency.parent_seconds)} dense, {latency.gain:.2f} times as fast "
            f"(between {latency.low:.2f} and {latency.high:.2f})"
        )
    if ratios:
        yield f"size: {', '.join(ratios)}"
    yield from packings.sentences(made_card.packing)
