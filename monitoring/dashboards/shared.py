"""Panels that more than one dashboard shows, and how expressions are written."""

from __future__ import annotations

from typing import Any

from monitoring.dashboards.panels import Panel, Query, Steps

M = '{model=~"$model"}'
FAILED: Steps = ((None, "green"), (0.005, "yellow"), (0.05, "red"))
SLOW: Steps = ((None, "green"), (0.1, "yellow"), (1.0, "red"))
GONE: Steps = ((None, "green"), (60, "yellow"), (300, "red"))
ANY: Steps = ((None, "green"), (1, "red"))
WAITING: Steps = ((None, "green"), (10, "yellow"), (50, "orange"))


def stat(title: str, text: str, expr: str, **fields: Any) -> Panel:
    """Return a tile of one number; six of them make the top row."""
    plain = {"kind": "stat", "width": 4, "height": 4, **fields}
    legend = str(plain.pop("legend", ""))
    return Panel(title=title, text=text, queries=(Query(expr, legend),), **plain)


def quantile(share: float, metric: str, by: str) -> str:
    """Write the quantile of a histogram, by a label.

    >>> quantile(0.5, "coppice_batch_rows", "model")[:41]
    'histogram_quantile(0.5, sum by (model, le'
    """
    rate = f"rate({metric}_bucket{M}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({by}, le) ({rate}))"


ALERTS = stat(
    "Alerts firing",
    "Alerts of this model that fire now. Nought is good only while the monitor is fresh.",
    'count(ALERTS{alertname=~"Coppice.*",alertstate="firing",model=~"$model"}) or vector(0)',
    steps=ANY,
)
CHAMPION = stat(
    "Champion is",
    "The verdict in force: healthy, drift, decay (with its cause), or undecided.",
    'coppice_verdict{model=~"$model",scope="champion"}',
    legend="{{kind}} {{cause}}",
    says="name",
)
CANDIDATE = stat(
    "Candidate is",
    "The verdict in force about the candidate; no data where there is none.",
    'coppice_verdict{model=~"$model",scope="candidate"}',
    legend="{{kind}}",
    says="name",
)
STAGE = stat(
    "Rollout stage",
    "Where the rollout stands: idle, shadow, canary or watch.",
    f"coppice_rollout_stage{M} == 1",
    legend="{{stage}}",
    says="name",
)
REQUESTS = stat(
    "Requests",
    "Requests a second, over five minutes, at the doors that answer and take labels.",
    f"model:coppice_requests:rate5m{M}",
    unit="reqps",
    decimals=1,
)
FAILING = stat(
    "Failing",
    "Share of the requests answered with 429 or 5xx, over five minutes. The objective is 0.5%.",
    f"model:coppice_request_errors:ratio_rate5m{M}",
    unit="percentunit",
    decimals=2,
    steps=FAILED,
)
FRESH = stat(
    "Monitor's last turn",
    "How long ago the monitor finished a turn. Above five minutes nothing is judged.",
    f"time() - coppice_monitor_last_success_timestamp_seconds{M}",
    unit="s",
    decimals=0,
    steps=GONE,
)
LABELS_WANTED = stat(
    "Labels wanted",
    "Requests whose label would help; `coppice labels wanted` lists them.",
    f"sum(coppice_labels_wanted{M})",
    steps=WAITING,
)
P99 = stat(
    "p99 latency",
    "99 of 100 answers come within it: from the decoded request to the committed answer.",
    f"model:coppice_request_seconds:p99_rate5m{M}",
    unit="s",
    steps=SLOW,
)
ACCURACY = Panel(
    title="Live score",
    text="Mean score over the recent labelled rows of each version, and its lower 95% bound.",
    queries=(
        Query('coppice_accuracy_ratio{model=~"$model",slice="all"}', "{{version}}"),
        Query(
            'coppice_accuracy_lower_bound_ratio{model=~"$model",slice="all"}',
            "{{version}} at least",
        ),
    ),
    unit="percentunit",
    high=1.0,
)
DRIFT = Panel(
    title="Drift, the five furthest features",
    text="Each feature on its way to its own threshold; at 1 a window alarms.",
    queries=(Query(f"topk(5, coppice_drift_ratio{M})", "{{feature}}"),),
    low=0.0,
    line=1.0,
)
EVIDENCE = Panel(
    title="Evidence",
    text="Natural logarithms. At ln(1/alpha), 3.0 for alpha 0.05, promote, rollback and failures "
    "decide; decay has a higher threshold of its own.",
    queries=(Query(f"coppice_evidence_log{M}", "{{direction}}"),),
    line=3.0,
)
BY_CODE = Panel(
    title="Requests by status",
    text="Answers a second by HTTP status, at the doors that answer and take labels.",
    queries=(
        Query(
            "sum by (code) (rate(coppice_requests_total"
            '{model=~"$model",door=~"infer|predict|feedback"}[$__rate_interval])) > 0',
            "{{code}}",
        ),
    ),
    unit="reqps",
    low=0.0,
)
LATENCY = Panel(
    title="Latency by lane",
    text="Time to the committed answer: median and 99th centile of each lane.",
    queries=(
        Query(quantile(0.5, "coppice_request_seconds", "lane"), "{{lane}} p50"),
        Query(quantile(0.99, "coppice_request_seconds", "lane"), "{{lane}} p99"),
    ),
    unit="s",
    low=0.0,
)
QUEUE = Panel(
    title="Label queue",
    text="Requests whose label is asked for, by reason.",
    queries=(Query(f"coppice_labels_wanted{M}", "{{reason}}"),),
    low=0.0,
)
FIRING = Panel(
    title="Firing now",
    text="Each alert has a page in docs/runbooks.",
    queries=(Query('ALERTS{alertname=~"Coppice.*",alertstate="firing",model=~"$model|"}'),),
    kind="table",
    width=24,
    height=6,
)
