"""The dashboard of monitors that share their work: who has what, and whether facts arrive."""

from __future__ import annotations

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board, Panel, Query

_RATE = "[$__rate_interval]"
_FACTS = shared.M.removesuffix("}")

ROWS = (
    (
        shared.stat(
            "Partitions owned",
            "Partitions of the requests that some member reads; less than there are in a takeover.",
            f"sum(coppice_monitor_partitions{shared.M})",
            decimals=0,
        ),
        shared.stat(
            "Behind the clock",
            "How far what is folded is behind the clock of the member that judges.",
            f"max(coppice_monitor_watermark_lag_seconds{shared.M})",
            unit="s",
            steps=((None, "green"), (15, "yellow"), (120, "red")),
            decimals=0,
        ),
        shared.stat(
            "Late facts, 1 h",
            "Facts that came too late for their place, and were folded all the same.",
            f'sum(increase(coppice_monitor_facts_total{_FACTS}, what="late"}}[1h]))',
            steps=shared.ANY,
            decimals=0,
        ),
        shared.stat(
            "Repeated facts, 1 h",
            "Facts told again after a takeover, and passed over.",
            f'sum(increase(coppice_monitor_facts_total{_FACTS}, what="repeated"}}[1h]))',
            decimals=0,
        ),
        shared.stat(
            "Facts sent, 1 h",
            "Facts that the members told.",
            f'sum(increase(coppice_monitor_facts_total{_FACTS}, what="sent"}}[1h]))',
            decimals=0,
        ),
        shared.stat(
            "Facts folded, 1 h",
            "Facts that the one that judges has folded.",
            f'sum(increase(coppice_monitor_facts_total{_FACTS}, what="folded"}}[1h]))',
            decimals=0,
        ),
    ),
    (
        Panel(
            title="Facts",
            text="Facts told by the members, and folded by the one that judges, a second.",
            queries=(
                Query(
                    f"sum by (what) (rate(coppice_monitor_facts_total{shared.M}{_RATE}))",
                    "{{what}}",
                ),
            ),
            low=0.0,
        ),
        Panel(
            title="Partitions",
            text="Partitions that some member reads.",
            queries=(Query(f"sum(coppice_monitor_partitions{shared.M})", "owned"),),
            low=0.0,
        ),
        Panel(
            title="Behind the clock over time",
            text="How far what is folded is behind; it grows while a partition has no owner.",
            queries=(Query(f"max(coppice_monitor_watermark_lag_seconds{shared.M})", "behind"),),
            unit="s",
            low=0.0,
        ),
    ),
)

BOARD = Board(
    uid="coppice-sharing",
    title="Coppice / Sharing",
    text="Monitors that share their work. Empty unless monitor.group is set.",
    rows=ROWS,
)
