"""Every metric of the judging plane: names, labels and help in one place.

Labels are bounded: versions to those that play a part, slices by `monitor.slice_limit`, features by
the artifact (at most 32). What a version or slice showed is removed once it plays no part any more.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeAlias, get_args

import prometheus_client
from prometheus_client import registry

from coppice import records
from monitoring import ranges, status

VERDICTS = (
    *(("candidate", kind, "") for kind in ("promote", "rollback", "undecided")),
    *(("champion", kind, "") for kind in ("healthy", "drift", "undecided")),
    *(("champion", "decay", cause) for cause in get_args(records.Cause)),
)
"""Scope, kind and cause of every verdict that there can be."""

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


Series: TypeAlias = dict[tuple[str, ...], float]
"""Values by labels, without the model."""


class Recorder:
    """Count and show what the monitor sees; it never decides.

    Parameters
    ----------
    model
        Value of the `model` label.
    collectors
        Where the metrics are registered; one of its own by default, so that two recorders in one
        process do not collide.

    Examples
    --------
    >>> recorder = Recorder("digits")
    >>> recorder.took({"prediction": 3}, {"repeated_label": 1}, seconds=0.01)
    >>> 'coppice_monitor_events_total{kind="prediction",model="digits"} 3.0' in (
    ...     recorder.page().decode())
    True
    """

    def __init__(self, model: str, collectors: registry.CollectorRegistry | None = None) -> None:
        self.registry = collectors or registry.CollectorRegistry()
        self._model = model
        self._shown: dict[prometheus_client.Gauge, set[tuple[str, ...]]] = {}
        self._counted: dict[tuple[prometheus_client.Counter, str], int] = {}
        self._make_counters()
        self._make_window_gauges()
        self._make_group_metrics()
        gauge = functools.partial(prometheus_client.Gauge, registry=self.registry)
        self._verdict = gauge(
            "coppice_verdict",
            "1 for the verdict in force, by scope; a decay has a cause.",
            ["model", "scope", "kind", "cause"],
        )
        self._accuracy = gauge(
            "coppice_accuracy_ratio",
            "Mean score over the recent labelled rows.",
            ["model", "version", "slice"],
        )
        self._accuracy_low = gauge(
            "coppice_accuracy_lower_bound_ratio",
            "Lower 95% bound of the mean score.",
            ["model", "version", "slice"],
        )
        self._coverage = gauge(
            "coppice_label_coverage_ratio",
            "Share of the answered rows whose truth is known.",
            ["model", "version"],
        )
        self._agreement = gauge(
            "coppice_parent_agreement_ratio",
            "Share of mirrored rows that the dense parent answers alike.",
            ["model", "version"],
        )
        self._evidence = gauge(
            "coppice_evidence_log",
            "Log evidence: about the candidate (promote, rollback, failures), of decay (decay).",
            ["model", "direction"],
        )
        self._drift = gauge(
            "coppice_drift_ratio",
            "How far a feature is on its way to its drift threshold; 1 and above alarms.",
            ["model", "feature"],
        )
        self._wanted = gauge(
            "coppice_labels_wanted", "Requests in the label queue.", ["model", "reason"]
        )
        self._caught_up = gauge(
            "coppice_monitor_caught_up", "1 where no event was left to take in.", ["model"]
        )
        self._success = gauge(
            "coppice_monitor_last_success_timestamp_seconds",
            "When a turn last succeeded, seconds since 1970 UTC.",
            ["model"],
        )

    def _make_window_gauges(self) -> None:
        gauge = functools.partial(prometheus_client.Gauge, registry=self.registry)
        self._drift_kinds = gauge(
            "coppice_drift_kind_ratio",
            "The farthest ratio by kind: answers, embedding, inputs, and labels.",
            ["model", "kind"],
        )
        self._drift_slices = gauge(
            "coppice_drift_slice_ratio",
            "The farthest ratio in the last window of each of the largest slices.",
            ["model", "slice"],
        )
        self._unseen = gauge(
            "coppice_drift_unseen_rows",
            "Rows of the last window with a value that the reference has not, by what is wrong.",
            ["model", "feature", "kind"],
        )
        self._new_slices = gauge(
            "coppice_drift_new_slices",
            "Slices with traffic that the reference does not have.",
            ["model"],
        )
        self._estimate = gauge(
            "coppice_accuracy_estimate_ratio",
            "Mean score that the last window should have, estimated without labels.",
            ["model", "version", "trusted"],
        )
        self._quality = gauge(
            "coppice_quality",
            "The task's own measures over the recent labelled rows.",
            ["model", "version", "slice", "measure"],
        )
        self._delay = gauge(
            "coppice_label_delay_seconds",
            "How long labels take, by quantile of the recent ones.",
            ["model", "version", "quantile"],
        )

    def _make_group_metrics(self) -> None:
        gauge = functools.partial(prometheus_client.Gauge, registry=self.registry)
        self._partitions = gauge(
            "coppice_monitor_partitions", "Partitions that a member of a group has.", ["model"]
        )
        self._lag = gauge(
            "coppice_monitor_watermark_lag_seconds",
            "How far what the group has folded is behind the clock of the member that judges.",
            ["model"],
        )
        self._facts = prometheus_client.Counter(
            "coppice_monitor_facts_total",
            "Facts of a group: sent by members; folded, folded late, or passed over as repeated by "
            "the one that judges.",
            ["model", "what"],
            registry=self.registry,
        )

    def _make_counters(self) -> None:
        counter = functools.partial(prometheus_client.Counter, registry=self.registry)
        self._events = counter(
            "coppice_monitor_events_total",
            "Events taken in; `undecodable` and `unknown_version` were passed over.",
            ["model", "kind"],
        )
        self._oddities = counter(
            "coppice_monitor_join_oddities_total",
            "Repeats, labels that fit nothing, and requests forgotten unlabelled.",
            ["model", "kind"],
        )
        self._errors = counter(
            "coppice_monitor_turn_errors_total", "Turns that raised.", ["model", "error"]
        )
        self._verdicts = counter(
            "coppice_monitor_verdicts_total",
            "Verdicts written; a decay has a cause.",
            ["model", "scope", "kind", "cause"],
        )
        # From nought, so that the first of a kind is an increase that an alert sees.
        for verdict in VERDICTS:
            self._verdicts.labels(self._model, *verdict)
        self._seconds = prometheus_client.Histogram(
            "coppice_monitor_turn_seconds",
            "Time of a turn.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def took(
        self, events: Mapping[str, int], oddities: Mapping[str, int], *, seconds: float
    ) -> None:
        """Count what was taken in.

        Parameters
        ----------
        events, oddities
            By kind, since the log began: after a restart the counters go on where they were.
        seconds
            How long the turn took.
        """
        # Not from nought at the start: what was counted before a restart is no increase.
        known = {"undecodable": 0} | dict(events)
        for counter, counts in ((self._events, known), (self._oddities, oddities)):
            for kind, count in counts.items():
                self._raise_to(counter, kind, count)
        self._seconds.labels(self._model).observe(seconds)

    def shared(self, partitions: int, sent: int) -> None:
        """Show a member's part of a group: how many partitions, and facts told since it started."""
        self._partitions.labels(self._model).set(partitions)
        self._raise_to(self._facts, "sent", sent)

    def gathered(self, folded: int, late: int, repeated: int, lag: float) -> None:
        """Show what came to the member that judges: facts, and how far it is behind, seconds."""
        for what, count in (("folded", folded), ("late", late), ("repeated", repeated)):
            self._raise_to(self._facts, what, count)
        self._lag.labels(self._model).set(lag)

    def announced(self, verdict: records.Verdict) -> None:
        """Count a verdict that was written to the log."""
        self._verdicts.labels(self._model, *_series(verdict)).inc()

    def failed(self, cause: Exception) -> None:
        """Count a turn that raised."""
        self._errors.labels(self._model, type(cause).__name__).inc()

    def succeeded(self, now: float, *, caught_up: bool) -> None:
        """Note the time of a turn that did not raise."""
        self._success.labels(self._model).set(now)
        self._caught_up.labels(self._model).set(caught_up)

    def show(self, seen: status.Status) -> None:
        """Show the state after a turn, and drop what no longer is."""
        versions = seen.versions
        scores = [
            (version.version, name, score)
            for version in versions
            for name, score in version.accuracy.items()
        ]
        verdicts = [v for v in (seen.candidate_verdict, seen.champion_verdict) if v is not None]
        self._put(self._accuracy, {(v, name): score.mean for v, name, score in scores})
        self._put(self._accuracy_low, {(v, name): score.low for v, name, score in scores})
        self._put(self._coverage, {(v.version,): v.label_coverage for v in versions})
        agreement = {(v.version,): v.parent_agreement for v in versions}
        self._put(self._agreement, {key: v for key, v in agreement.items() if v is not None})
        self._put(self._verdict, {_series(verdict): 1.0 for verdict in verdicts})
        self._put(self._evidence, {(name,): value for name, value in seen.evidence.items()})
        ratios = seen.drift.ratios if seen.drift is not None else {}
        self._put(self._drift, {(name,): value for name, value in ratios.items()})
        self._put(self._wanted, {(name,): float(value) for name, value in seen.wanted.items()})
        self._show_windows(seen)
        self._show_quality(seen)

    def _show_windows(self, seen: status.Status) -> None:
        kinds: Series = {(kind,): look.ratio for kind, look in seen.drift_kinds.items()}
        if seen.label_drift is not None:
            kinds["labels",] = seen.label_drift.ratio or 0.0
        self._put(self._drift_kinds, kinds)
        slices: Series = {(name,): look.ratio or 0.0 for name, look in seen.slice_drift.items()}
        self._put(self._drift_slices, slices)
        found = seen.violations or ranges.Violations(0)
        counts = {"missing": found.missing, "outside": found.outside, "new": found.new}
        unseen: Series = {
            (name, kind): float(n) for kind, by in counts.items() for name, n in by.items()
        }
        self._put(self._unseen, unseen)
        self._new_slices.labels(self._model).set(len(seen.new_slices))
        guess = seen.estimate
        if guess is None or seen.champion is None:
            self._put(self._estimate, {})
        else:
            trusted = "yes" if guess.trusted else "no"
            self._put(self._estimate, {(seen.champion, trusted): guess.mean})

    def _show_quality(self, seen: status.Status) -> None:
        measures: Series = {
            (version.version, name, measure): figure.value
            for version in seen.versions
            for name, found in version.measures.items()
            for measure, figure in found.figures.items()
        }
        self._put(self._quality, measures)
        delays: Series = {
            (version.version, quantile): seconds
            for version in seen.versions
            if version.label_delay is not None
            for quantile, seconds in (
                ("0.5", version.label_delay.p50),
                ("0.9", version.label_delay.p90),
            )
        }
        self._put(self._delay, delays)

    def _raise_to(self, counter: prometheus_client.Counter, kind: str, count: int) -> None:
        """Let a counter grow to a count; one that was handed to another member stays."""
        more = count - self._counted.get((counter, kind), 0)
        counter.labels(self._model, kind).inc(max(more, 0))
        self._counted[counter, kind] = count

    def _put(self, gauge: prometheus_client.Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        """Show exactly these values; a reader never sees fewer of those that stay."""
        for key, value in values.items():
            gauge.labels(self._model, *key).set(value)
        before = self._shown.get(gauge, set())
        for gone in before - set(values):
            gauge.remove(self._model, *gone)
        self._shown[gauge] = set(values)

    def page(self) -> bytes:
        """Return the text of `/metrics`."""
        return prometheus_client.generate_latest(self.registry)


def _series(verdict: records.Verdict) -> tuple[str, str, str]:
    return verdict.scope, verdict.kind, verdict.cause or ""
