"""Whether the monitoring features still look like the reference (the only home of Evidently).

Each column of a window is scored against the reference by a named Evidently method, through the
very function that Evidently's `ValueDrift` metric calls: the same number at a fiftieth of the
cost, as no plot is drawn. Evidently's own choice of method and its fixed thresholds are never
used; they raise false alarms on up to all clean windows. Instead `Drift.calibrate` finds the
thresholds at which a clean window alarms with a stated probability over all columns together:

- `ks`: the reference is cut at random into two halves, again and again. The smallest p-value over
  the columns of each cut is a draw of what a clean window shows, however the columns depend on
  each other, and because p-values already account for the number of rows, its quantile holds for
  windows of any size, also when the reference has fewer rows than a window. Between cuts the
  p-values only differ through the KS statistic, which is found by ranks in numpy; Evidently scores
  the one cut that becomes the threshold.
- other methods: reference and window are both drawn anew from the reference, with replacement and
  in their true sizes, and scored by Evidently. Each column's threshold is its own typical clean
  score times one factor for all columns.

What the rate means: over references and clean windows drawn from the same source, rows independent.
A single reference that happens to be odd alarms more often, on all of its windows alike; so does
traffic whose rows come in runs. Hence drift is declared only when sustained, and never alone rolls
anything back.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import settings, telemetry

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

CUTS_BEYOND = 20
"""Cuts of the reference beyond the `ks` threshold: 20 fix the rate within about 22% of itself."""

DRAWS_BEYOND = 2
"""The same for the methods whose draws cost hundreds of times as much."""

TYPICAL = 0.9
"""Quantile of a column's clean scores that stands for their size."""

REFERENCE_WINDOWS = 10
"""A reference of more windows than this is thinned: its own error is small by then."""

SMALLEST_P = 1e-300
"""Stands in for p-values that underflow, so that their logarithm exists."""


@dataclass(frozen=True, slots=True)
class DriftLook:
    """What one window shows."""

    rows: int
    scores: dict[str, float]
    """Evidently's score by feature: a p-value for `ks`, a distance for the other methods."""
    ratios: dict[str, float]
    """By feature how far the score is on its way to the threshold: at 1 and above it alarms."""
    unscored: dict[str, str]
    """Features that could not be scored, and why."""
    alarmed: bool | None
    """`None`: no column alarms, but not all of them (or none) could be looked at."""
    reason: str
    """One sentence."""

    @property
    def ratio(self) -> float | None:
        """The largest ratio; `None` where nothing was scored."""
        return max(self.ratios.values(), default=None)

    @property
    def worst(self) -> tuple[str, ...]:
        """Features that alarm, the farthest first."""
        ordered = sorted(self.ratios, key=lambda name: -self.ratios[name])
        return tuple(name for name in ordered if self.ratios[name] >= 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """A reference with calibrated thresholds; made by `calibrate`."""

    names: tuple[str, ...]
    reference: Floats
    """[rows, features]"""
    methods: tuple[str, ...]
    """Evidently method of each feature."""
    thresholds: tuple[float, ...]
    """Score at which each feature alarms, in the method's own unit."""
    window: int
    """Rows that a look takes."""

    @classmethod
    def calibrate(
        cls,
        reference: Floats,
        names: Sequence[str],
        chosen: settings.DriftSettings,
        *,
        seed: int = 0,
    ) -> Drift:
        """Find the thresholds; the same seed finds the same ones.

        Parameters
        ----------
        reference
            Features of clean rows [rows, features].
        names
            Name of each feature.
        chosen
            Method, window size, false-alarm rate and least number of clean draws.
        seed
            Of the draws.

        Raises
        ------
        ValueError
            The reference has fewer than 20 rows, or another number of columns than names.
        """
        values = np.asarray(reference, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(names) or len(values) < 20:
            message = f"need at least 20 rows of {len(names)} features; got {list(values.shape)}"
            raise ValueError(message)
        rng = np.random.default_rng(seed)
        if len(values) > REFERENCE_WINDOWS * chosen.window:
            rows = rng.choice(len(values), REFERENCE_WINDOWS * chosen.window, replace=False)
            values = values[np.sort(rows)]
        methods, thresholds = _calibrated(values, chosen, rng)
        return cls(tuple(names), values, methods, thresholds, chosen.window)

    @classmethod
    def cautious(
        cls, reference: Floats, names: Sequence[str], chosen: settings.DriftSettings, sharers: int
    ) -> Drift:
        """Share the false-alarm rate equally among columns and detectors, without any draws.

        For detectors that there are several of: a clean window alarms in any of `sharers` of them
        with at most the stated probability (Bonferroni), always by `ks`. It costs nothing to make
        and some power, as the columns depend on each other.
        """
        values = np.asarray(reference, dtype=np.float64)
        columns = len(names)
        threshold = chosen.false_alarm_rate / (columns * sharers)
        return cls(tuple(names), values, ("ks",) * columns, (threshold,) * columns, chosen.window)

    def look(self, window: Floats) -> DriftLook:
        """Score a window; of one that is longer than calibrated for, the last rows.

        Raises
        ------
        ValueError
            The window has another number of columns than the reference.
        """
        values = np.asarray(window, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            message = f"need rows of {len(self.names)} features; got {list(values.shape)}"
            raise ValueError(message)
        if len(values) < self.window:
            reason = f"the window has {len(values)} of the {self.window} rows that it takes"
            return DriftLook(len(values), {}, {}, dict.fromkeys(self.names, reason), None, reason)
        values = values[-self.window :]
        unscored = self._unscorable(values)
        scores = {
            name: _score(self.methods[column], self.reference[:, column], values[:, column])
            for column, name in enumerate(self.names)
            if name not in unscored
        }
        unscored |= {name: "it has no score" for name in scores if math.isnan(scores[name])}
        scores = {name: score for name, score in scores.items() if name not in unscored}
        return self._conclude(len(values), scores, unscored)

    def _unscorable(self, values: Floats) -> dict[str, str]:
        missing = ~np.isfinite(values)
        whole = np.asarray(np.isfinite(self.reference).all(axis=0))
        found = {
            name: f"{count} of {len(values)} values are NaN or infinite"
            for name, count in zip(self.names, missing.sum(axis=0).tolist(), strict=True)
            if count
        }
        return found | {
            name: "the reference holds NaN or infinite values; pack the version again"
            for name, finite in zip(self.names, whole.tolist(), strict=True)
            if not finite
        }

    def _conclude(self, rows: int, scores: dict[str, float], unscored: dict[str, str]) -> DriftLook:
        ratios = {
            name: ratio_of(self.methods[column], scores[name], self.thresholds[column])
            for column, name in enumerate(self.names)
            if name in scores
        }
        alarms = sorted((name for name in ratios if ratios[name] >= 1.0), key=lambda n: -ratios[n])
        if alarms:
            shown = ", ".join(f"{name} at {ratios[name]:.1f} times" for name in alarms[:3])
            count = f"{len(alarms)} of {len(self.names)} features"
            reason = f"{count} are past their drift threshold over {rows} rows: {shown}"
            return DriftLook(rows, scores, ratios, unscored, alarmed=True, reason=reason)
        if unscored:
            name, why = next(iter(unscored.items()))
            count = f"{len(unscored)} of {len(self.names)} features"
            reason = f"{count} could not be compared, first {name}: {why}"
            return DriftLook(rows, scores, ratios, unscored, alarmed=None, reason=reason)
        farthest = max(ratios, key=lambda name: ratios[name])
        reason = f"no feature drifts over {rows} rows; {farthest} is at {ratios[farthest]:.1f}"
        return DriftLook(rows, scores, ratios, {}, alarmed=False, reason=reason)


def snapshot(drift: Drift, window: Floats, path: Path) -> None:
    """Write Evidently's own report of a window as one HTML file (about 4 MB, a second or more).

    Parameters
    ----------
    drift
        The reference with its thresholds.
    window
        Finite features [rows, features].
    path
        File to write.
    """
    import pandas as pd

    library = _evidently()
    definition = library.DataDefinition(numerical_columns=list(drift.names))
    current, reference = (
        library.Dataset.from_pandas(pd.DataFrame(rows, columns=list(drift.names)), definition)
        for rows in (np.asarray(window, dtype=np.float64), drift.reference)
    )
    metrics = [
        library.ValueDrift(column=name, method=method, threshold=threshold)
        for name, method, threshold in zip(
            drift.names, drift.methods, drift.thresholds, strict=True
        )
    ]
    library.Report(metrics).run(current, reference).save_html(str(path))


class _Evidently(NamedTuple):
    """The few names of Evidently that are used here."""

    stattest: Callable[..., Any]
    numerical: Any
    Dataset: Any
    DataDefinition: Any
    Report: Any
    ValueDrift: Any


@functools.cache
def _evidently() -> _Evidently:
    """Import Evidently on first use: it takes seconds, and warns about libraries of its own."""
    telemetry.silence()
    with warnings.catch_warnings():
        owners = r"(evidently|litestar)\."
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=owners)
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.calculations.stattests.registry import get_registered_stattest
        from evidently.legacy.core import ColumnType
        from evidently.metrics import ValueDrift
    return _Evidently(
        functools.cache(get_registered_stattest),
        ColumnType.Numerical,
        Dataset,
        DataDefinition,
        Report,
        ValueDrift,
    )


def _score(method: str, reference: Floats, window: Floats) -> float:
    """Return Evidently's score of one column, as `ValueDrift` would."""
    import pandas as pd

    library = _evidently()
    stattest = library.stattest(method, library.numerical)
    found = stattest(pd.Series(reference), pd.Series(window), library.numerical, None)
    return float(found.drift_score)


def ratio_of(method: str, score: float, threshold: float) -> float:
    """Return how far a score is on its way to its threshold; at 1 and above it alarms.

    >>> ratio_of("ks", 0.0001, threshold=0.01), ratio_of("psi", 0.05, threshold=0.1)
    (2.0, 0.5)
    """
    if method == "ks":
        return math.log(max(score, SMALLEST_P)) / math.log(threshold)
    return score / threshold


def _calibrated(
    values: Floats, chosen: settings.DriftSettings, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the method and the threshold of every column."""
    usable = np.isfinite(values).all(axis=0)
    varies = usable & (values != values[0]).any(axis=0)
    # A distance has no clean size on a column that never varied; its p-value has.
    methods = np.where(varies, chosen.method, "ks")
    thresholds = np.full(values.shape[1], chosen.false_alarm_rate / values.shape[1])
    if varies.any():
        find = _ks_threshold if chosen.method == "ks" else _distance_thresholds
        thresholds[varies] = find(values[:, varies], chosen, rng)
    return tuple(methods.tolist()), tuple(thresholds.tolist())


def _ks_threshold(
    values: Floats, chosen: settings.DriftSettings, rng: np.random.Generator
) -> float:
    """Return the p-value that the smallest one over the columns undercuts at the stated rate.

    It is kept between the rate over the number of columns (Bonferroni, always safe) and the rate
    itself (all columns move as one), whatever the draws say.
    """
    rate, columns = chosen.false_alarm_rate, values.shape[1]
    cuts = max(chosen.calibration_windows, math.ceil(CUTS_BEYOND / rate))
    sides = rng.permuted(np.tile(_sides(len(values)), (cuts, 1)), axis=1)
    gaps = ks_statistics(values, sides)
    cut = _beyond(gaps.max(axis=1), rate)
    column = int(gaps[cut].argmax())
    first, second = (values[sides[cut] == side, column] for side in (1, -1))
    return float(np.clip(_score("ks", first, second), rate / columns, rate))


def _sides(rows: int) -> npt.NDArray[np.int8]:
    """Mark the rows of two halves 1 and -1; one row is left out (0) where that makes sizes differ.

    Equal sizes would leave the KS statistic with few distinct values.
    """
    sides = np.ones(rows, dtype=np.int8)
    sides[rows // 2 :] = -1
    sides[-1] = 0 if rows % 2 == 0 else -1
    return sides


def ks_statistics(values: Floats, sides: npt.NDArray[np.int8]) -> Floats:
    """Return the KS statistic of many cuts of the same rows, [cuts, columns].

    Parameters
    ----------
    values
        [rows, columns]
    sides
        For each cut and row 1 or -1 for the two samples, 0 for neither, [cuts, rows].

    Examples
    --------
    >>> ks_statistics(np.array([[1.0], [2.0], [3.0]]), np.array([[1, 1, -1]], dtype=np.int8))
    array([[1.]])
    """
    order = values.argsort(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    # Within a run of equal values the gap counts only behind the last of them.
    last = np.vstack([ordered[1:] != ordered[:-1], np.ones(ordered.shape[1], dtype=bool)])
    gaps = np.empty((len(sides), values.shape[1]))
    for cut, side in enumerate(sides):
        steps = np.where(side > 0, 1.0 / (side > 0).sum(), -1.0 / (side < 0).sum()) * (side != 0)
        gaps[cut] = (np.abs(steps[order].cumsum(axis=0)) * last).max(axis=0)
    return gaps


def _distance_thresholds(
    values: Floats, chosen: settings.DriftSettings, rng: np.random.Generator
) -> Floats:
    rate, rows = chosen.false_alarm_rate, len(values)
    draws = max(chosen.calibration_windows, math.ceil(DRAWS_BEYOND / rate))
    clean = np.empty((draws, values.shape[1]))
    for draw in range(draws):
        reference = values[rng.integers(rows, size=rows)]
        window = values[rng.integers(rows, size=chosen.window)]
        pairs = zip(reference.T, window.T, strict=True)
        clean[draw] = [_score(chosen.method, *pair) for pair in pairs]
    typical = np.quantile(clean, TYPICAL, axis=0)
    largest = (clean / typical).max(axis=1)
    return np.asarray(typical * largest[_beyond(largest, rate)])


def _beyond(draws: Floats, rate: float) -> int:
    """Return the draw that a fresh one reaches with chance at most `rate`.

    Where the draws are tied there, it is the next larger one, or the largest.
    """
    allowed = max(math.floor(rate * (len(draws) + 1)), 1)
    order = np.argsort(-draws, kind="stable")
    passed = draws[order[min(allowed, len(draws) - 1)]]
    larger = order[draws[order] > passed]
    return int(larger[-1]) if len(larger) else int(order[0])
