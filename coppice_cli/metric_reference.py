"""docs/reference/metrics.md: every metric of every process, read out of their Recorders.

Rules and dashboards may use what `catalogue` lists, and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from prometheus_client import registry

from coppice_cli import reference

UNITS = {
    "seconds": "seconds",
    "ratio": "ratio, 0 to 1",
    "rows": "rows",
    "bytes": "bytes",
    "log": "natural logarithm",
}
"""By the last word of a name, `_total` left out; what is in none of them is a plain number."""

OVER_ONE = "coppice_drift_"
"""Begin of the names of ratios to a threshold, which may exceed 1."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric as a reader of `/metrics` meets it."""

    plane: str
    name: str
    """With `_total` for a counter; a histogram has `_bucket`, `_sum` and `_count` behind it."""
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def unit(self) -> str:
        """What a value of 1 means.

        >>> Metric("service", "coppice_request_seconds", "histogram", (), "").unit
        'seconds'
        """
        if self.name.startswith(OVER_ONE) and self.name.endswith("_ratio"):
            return "ratio, 1 at the threshold"
        if "timestamp_seconds" in self.name:
            return "seconds since 1970 UTC"
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return UNITS.get(last, "count" if self.kind == "counter" else "number")

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series that it is made of.

        >>> Metric("service", "coppice_batch_rows", "histogram", (), "").series[0]
        'coppice_batch_rows_bucket'
        """
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}{part}" for part in ("_bucket", "_sum", "_count"))


class Listening(registry.CollectorRegistry):
    """A registry that keeps what registers with it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def register(self, collector: Any) -> None:
        """Keep and register a metric."""
        self.kept.append(collector)
        super().register(collector)


def catalogue() -> tuple[Metric, ...]:
    """Return every metric of every plane.

    >>> [metric.name for metric in catalogue() if metric.plane == "service"][0]
    'coppice_requests_total'
    """
    import coppice.follow.recorder
    import deploy.recorder
    import monitoring.recorder
    import retrain.recorder
    import service.recorder
    import service.relay_recorder

    planes = {name: Listening() for name in PAGES}
    service.recorder.Recorder(planes["service"])
    monitoring.recorder.Recorder("model", planes["monitoring"])
    retrain.recorder.Recorder("model", planes["retrain"])
    deploy.recorder.Recorder("model", planes["deploy"])
    service.relay_recorder.Recorder("model", registry=planes["relay"])
    coppice.follow.recorder.Recorder("model", registry=planes["follow"])
    return tuple(
        _metric(plane, collector) for plane, kept in planes.items() for collector in kept.kept
    )


def _metric(plane: str, collector: Any) -> Metric:
    (family,) = collector.describe()
    # The library shows the names of labels only on series that there are already.
    labels: Iterable[str] = collector._labelnames  # noqa: SLF001
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Metric(plane, name, family.type, tuple(labels), family.documentation)


PAGES = {
    "service": "The server: `/metrics` on `serve.port`. Workers add their values up; gauges show "
    "the most recent worker's. A `model` label comes from the scrape (`coppice monitoring export` "
    "writes it).",
    "monitoring": "The monitor: `/metrics` on `monitor.port`.",
    "retrain": "The retrainer: `/metrics` on `retrain.metrics_port`, which is off until set, at "
    "`metrics.host`, like those that follow.",
    "deploy": "The controller: `/metrics` on `rollout.metrics_port`, and on `rollout.port`; both "
    "are off until set.",
    "relay": "The relay, where `events.backend` is `kafka`: `/metrics` on "
    "`kafka.relay_metrics_port`, which is off until set.",
    "follow": "The follower, where `events.backend` is `kafka`: `/metrics` on "
    "`kafka.follow_metrics_port`, which is off until set.",
}
"""Where each plane shows its metrics."""


def page() -> str:
    """Return docs/reference/metrics.md."""
    lines = ["# Metrics", "", reference.NOTE, ""]
    lines += reference.wrap(
        "Every name begins with `coppice_`, values are in base units, counters end in `_total`. "
        "Label values are bounded by settings and by the artifact. Alerts and dashboards over "
        "them: [monitoring](../monitoring.md).",
        100,
    )
    known = catalogue()
    for plane, where in PAGES.items():
        lines += ["", f"## {plane}", "", *reference.wrap(where, 100)]
        lines += ["", "| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
        lines += [_row(metric) for metric in known if metric.plane == plane]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} | {metric.help} |"
