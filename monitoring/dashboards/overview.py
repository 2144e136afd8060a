"""The first dashboard: is it well, and if not, where to look."""

from __future__ import annotations

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board

BOARD = Board(
    uid="coppice-overview",
    title="Coppice / Overview",
    text="Is it well, and if not, where to look.",
    rows=(
        (
            shared.CHAMPION,
            shared.STAGE,
            shared.REQUESTS,
            shared.FAILING,
            shared.FRESH,
            shared.ALERTS,
        ),
        (shared.ACCURACY, shared.DRIFT, shared.EVIDENCE),
        (shared.BY_CODE, shared.LATENCY, shared.QUEUE),
        (shared.FIRING,),
    ),
)
