"""The dashboard of the server: answers, their speed, and whether they are kept."""

from __future__ import annotations

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board, Panel, Query

BOARD = Board(
    uid="coppice-serving",
    title="Coppice / Serving",
    text="Whether clients get answers, how fast, and whether they are kept.",
    rows=(
        (
            shared.REQUESTS,
            shared.FAILING,
            shared.P99,
            shared.stat(
                "Budget left, 3 days",
                "Share of the error budget left if all days were like the last three.",
                f"1 - model:coppice_request_errors:ratio_rate3d{shared.M} "
                "/ scalar(coppice:request_error_budget:ratio)",
                unit="percentunit",
                decimals=0,
                steps=((None, "red"), (0.0, "yellow"), (0.5, "green")),
            ),
            shared.stat(
                "Events waiting",
                "Events that wait for their commit to the log.",
                f"max(coppice_outbox_backlog{shared.M})",
                steps=((None, "green"), (50, "yellow"), (200, "red")),
            ),
            shared.stat(
                "Events lost, 1 h",
                "Events that the log did not take; their requests were refused.",
                f"sum(increase(coppice_outbox_failures_total{shared.M}[1h]))",
                steps=shared.ANY,
                decimals=0,
            ),
        ),
        (
            shared.BY_CODE,
            shared.LATENCY,
            Panel(
                title="Failing, by window",
                text="Share of the requests answered with 429 or 5xx; alerts compare two windows.",
                queries=(
                    Query(f"model:coppice_request_errors:ratio_rate5m{shared.M}", "5 minutes"),
                    Query(f"model:coppice_request_errors:ratio_rate1h{shared.M}", "1 hour"),
                    Query(f"model:coppice_request_errors:ratio_rate6h{shared.M}", "6 hours"),
                ),
                unit="percentunit",
                low=0.0,
                line=0.005,
            ),
        ),
        (
            Panel(
                title="Rows in a batch",
                text="Batches form only from what waits: one row means that nothing waits.",
                queries=(
                    Query(
                        f"sum(rate(coppice_batch_rows_sum{shared.M}[$__rate_interval])) "
                        f"/ sum(rate(coppice_batch_rows_count{shared.M}[$__rate_interval]))",
                        "mean",
                    ),
                ),
                low=0.0,
            ),
            Panel(
                title="Time of a commit",
                text="One transaction for each batch of events; it is part of each latency.",
                queries=(
                    Query(shared.quantile(0.5, "coppice_outbox_commit_seconds", "model"), "p50"),
                    Query(shared.quantile(0.99, "coppice_outbox_commit_seconds", "model"), "p99"),
                ),
                unit="s",
                low=0.0,
            ),
            Panel(
                title="Trouble",
                text="What should stay at nought, a second: loads, loops, commits, lost inputs.",
                queries=(
                    Query(
                        f"sum(rate(coppice_load_failures_total{shared.M}[$__rate_interval]))",
                        "loads",
                    ),
                    Query(
                        f"sum(rate(coppice_turn_failures_total{shared.M}[$__rate_interval]))",
                        "loops",
                    ),
                    Query(
                        f"sum(rate(coppice_outbox_failures_total{shared.M}[$__rate_interval]))",
                        "commits",
                    ),
                    Query(
                        f"sum(rate(coppice_inputs_dropped_total{shared.M}[$__rate_interval]))",
                        "inputs",
                    ),
                ),
                low=0.0,
            ),
        ),
        (
            Panel(
                title="Versions in memory",
                text="Which version plays which part in the server.",
                queries=(Query(f"coppice_model_info{shared.M} == 1"),),
                kind="table",
                width=24,
                height=6,
            ),
        ),
    ),
)
