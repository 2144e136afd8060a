"""What a sweep comes to: means over seeds, what beats chance, and sentences. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from scipy import stats

from coppice.labels import Floats
from retrain.evaluate import latency
from retrain.report import prunings
from retrain.sweep import record


class Mean(NamedTuple):
    """A mean over seeds, and their standard deviation; `None` with a single seed."""

    value: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Summarise values.

        >>> Mean.of([0.25, 0.75])
        Mean(value=0.5, spread=0.3535533905932738)
        """
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread)


class Gain(NamedTuple):
    """Times as fast: the mean over seeds, and the widest ends of their races' intervals."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, raced: Sequence[latency.Latency]) -> Gain:
        """Summarise races."""
        return cls(
            statistics.fmean(each.gain for each in raced),
            min(each.low for each in raced),
            max(each.high for each in raced),
        )


class Cell(NamedTuple):
    """One criterion at one amount, over its seeds.

    Attributes
    ----------
    seeds
        How many were measured.
    drop
        Score lost against the null control.
    disagreement
        With the dense parent.
    gains, eager_gains
        Times as fast, by rows in a batch: against the dense parent in the same runtime, and in
        torch.
    macs, parameters, graph_bytes, zipped_bytes
        Dense over pruned.
    """

    criterion: str
    amount: float
    seeds: int
    score: Mean
    drop: Mean
    disagreement: Mean
    gains: Mapping[int, Gain]
    eager_gains: Mapping[int, Gain]
    macs: float
    parameters: float
    graph_bytes: float
    zipped_bytes: float


def cells(found: record.Sweep) -> tuple[Cell, ...]:
    """Return the criteria at each amount that were measured at least once."""
    return tuple(
        _cell(found, criterion, amount, measured)
        for amount in found.amounts
        for criterion in found.criteria
        if (measured := measured_of(found, criterion, amount))
    )


def measured_of(found: record.Sweep, criterion: str, amount: float) -> tuple[record.Measured, ...]:
    """Return what was measured of a criterion at an amount, seed by seed."""
    return tuple(
        each.measured
        for each in found.outcomes
        if each.measured is not None
        and (each.combination.criterion, each.combination.amount) == (criterion, amount)
    )


def _cell(
    found: record.Sweep, criterion: str, amount: float, measured: Sequence[record.Measured]
) -> Cell:
    sizes = tuple(speed.rows for speed in measured[0].graph.speeds)
    dense = found.dense

    def fewer(before: int, after: Iterable[int]) -> float:
        return before / statistics.fmean(after)

    return Cell(
        criterion=criterion,
        amount=amount,
        seeds=len(measured),
        score=Mean.of([each.score for each in measured]),
        drop=Mean.of([each.against_null.drop for each in measured]),
        disagreement=Mean.of([each.against_parent.disagreement for each in measured]),
        gains={n: Gain.of([each.speed(n).same for each in measured]) for n in sizes},
        eager_gains={n: Gain.of([each.speed(n).eager for each in measured]) for n in sizes},
        macs=fewer(dense.macs, (each.network.macs for each in measured)),
        parameters=fewer(dense.parameters, (each.network.parameters for each in measured)),
        graph_bytes=fewer(
            found.dense_graph.graph_bytes, (each.graph.graph_bytes for each in measured)
        ),
        zipped_bytes=fewer(dense.zipped_bytes, (each.network.zipped_bytes for each in measured)),
    )


def percent(share: float) -> str:
    """Write a share for people.

    >>> percent(0.07)
    '7%'
    """
    return f"{100 * share:.6g}%"


def points(found: record.Sweep, rows: int) -> tuple[prunings.Point, ...]:
    """Return each criterion at each amount as score against speed, for batches of so many rows."""
    return tuple(
        prunings.Point(
            series=cell.criterion,
            label=percent(cell.amount),
            gain=cell.gains[rows].value,
            quality=cell.score.value,
            low=cell.gains[rows].low,
            high=cell.gains[rows].high,
            spread=cell.score.spread or 0.0,
        )
        for cell in cells(found)
    )


def edges(
    scores: Mapping[record.Combination, Floats],
    epochs: Mapping[record.Combination, int],
    *,
    confidence: float,
) -> tuple[record.Edge, ...]:
    """Compare every criterion with random choice, over all amounts and at each.

    Parameters
    ----------
    scores
        The score of each row, [rows], by combination.
    epochs
        Passes of training, by combination.
    """
    criteria = dict.fromkeys(each.criterion for each in scores if each.criterion != record.CONTROL)
    amounts = sorted({each.amount for each in scores})
    found = []
    for criterion in criteria:
        for amount in (None, *amounts):
            wanted = amounts if amount is None else [amount]
            edge = _edge(criterion, amount, _differences(scores, criterion, wanted), confidence)
            if edge is not None:
                found.append(_with_epochs(edge, epochs))
    return tuple(found)


def _differences(
    scores: Mapping[record.Combination, Floats], criterion: str, amounts: Sequence[float]
) -> Floats:
    """Return what the criterion scores above chance, [seeds, rows], on average over the amounts.

    Amounts that the criterion never managed count nothing; a seed counts when it has all others.
    """
    pairs: dict[int, dict[float, Floats]] = {}
    for each, row_scores in scores.items():
        control = record.Combination(criterion=record.CONTROL, amount=each.amount, seed=each.seed)
        if each.criterion == criterion and each.amount in amounts and control in scores:
            pairs.setdefault(each.seed, {})[each.amount] = row_scores - scores[control]
    managed = {amount for by_amount in pairs.values() for amount in by_amount}
    whole = [by_amount for by_amount in pairs.values() if set(by_amount) == managed]
    means = [np.mean(list(by_amount.values()), axis=0) for by_amount in whole]
    return np.array(means, dtype=np.float64)


def _edge(
    criterion: str, amount: float | None, differences: Floats, confidence: float
) -> record.Edge | None:
    if differences.size == 0:
        return None
    value, low, high = interval(differences, confidence=confidence)
    return record.Edge(
        criterion=criterion,
        amount=amount,
        seeds=len(differences),
        value=value,
        low=low,
        high=high,
    )


def interval(differences: Floats, *, confidence: float) -> tuple[float, float | None, float | None]:
    """Return the mean difference of scores [seeds, rows] with an interval over both.

    Other seeds would give other trainings, other rows other luck: the half lengths of the two
    intervals, Student's over the seeds' means and the normal one over the rows', are added as
    squares. That counts what varies by seed and row twice, so it errs towards doubt. With a single
    seed there is no interval.

    >>> value, low, high = interval(np.array([[1.0, 0.0], [0.0, 0.0]]), confidence=0.95)
    >>> value, round(low, 2), round(high, 2)
    (0.25, -2.96, 3.46)
    """
    value = float(differences.mean())
    seeds, rows = differences.shape
    if seeds < 2 or rows < 2:
        return value, None, None
    tail = 0.5 + confidence / 2.0
    by_seed = stats.t.ppf(tail, seeds - 1) * _error(differences.mean(axis=1))
    by_row = stats.norm.ppf(tail) * _error(differences.mean(axis=0))
    half = math.hypot(by_seed, by_row)
    return value, value - half, value + half


def _error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _with_epochs(edge: record.Edge, epochs: Mapping[record.Combination, int]) -> record.Edge:
    own = {count for each, count in epochs.items() if each.criterion == edge.criterion}
    chance = {count for each, count in epochs.items() if each.criterion == record.CONTROL}
    return msgspec.structs.replace(edge, more_epochs=max(own) - max(chance))


def sentences(found: record.Sweep) -> tuple[str, ...]:
    """Say what the sweep shows, and what it does not."""
    return tuple(_sentences(found))


def _sentences(found: record.Sweep) -> Iterator[str]:
    whole = [edge for edge in found.edges if edge.amount is None]
    if not whole:
        yield "Nothing was compared with random choice, so no criterion is shown to be of use."
        return
    above = [edge for edge in whole if edge.low is not None and edge.low > 0]
    below = [edge for edge in whole if edge.high is not None and edge.high < 0]
    rest = [edge for edge in whole if edge not in (*above, *below)]
    if above:
        yield f"Better than random choice, over all amounts: {_list(above)}."
    else:
        yield "No criterion is shown to be better than random choice."
    if rest:
        yield f"Not above random choice, as far as this sweep can tell: {_list(rest)}."
    if below:
        yield f"Worse than random choice: {_list(below)}."
    if any(edge.low is None for edge in whole):
        yield "With a single seed nothing can be told from chance; more seeds would."
    longer = [edge.criterion for edge in whole if edge.more_epochs > 0]
    if longer:
        yield (
            f"{', '.join(longer)} trained longer than random choice did, before the cut, so part "
            "of the difference may be the training's."
        )


def _list(edges_: Sequence[record.Edge]) -> str:
    ordered = sorted(edges_, key=lambda edge: -edge.value)
    return ", ".join(_words(edge) for edge in ordered)


def _words(edge: record.Edge) -> str:
    said = f"{edge.criterion} {100 * edge.value:+.2f} points"
    if edge.low is None or edge.high is None:
        return said
    return f"{said} ({100 * edge.low:+.2f} to {100 * edge.high:+.2f})"
