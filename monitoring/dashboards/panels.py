"""Panels as frozen values, and their place in a Grafana dashboard (pure).

Grafana's grid is 24 columns wide. Panels stand in rows as they are written down; no coordinate is
written by hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

COLUMNS = 24
SCHEMA_VERSION = 39
"""Of Grafana 11; later ones migrate it by themselves."""

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["stat", "timeseries", "bargauge", "table"]
Steps: TypeAlias = tuple[tuple[float | None, str], ...]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
PLAIN: Steps = ((None, "text"),)


@dataclasses.dataclass(frozen=True)
class Query:
    """One expression and how its series are called."""

    expr: str
    legend: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: what it shows, how it is read, and how large it is."""

    title: str
    text: str
    """What a reader should see in it; shown behind the (i)."""
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: Steps = PLAIN
    """From which value on which colour; the first is from below."""
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    says: Literal["value", "name"] = "value"
    """A stat shows its value, or the name of the one series that is there."""
    line: float | None = None
    """Where a threshold is drawn into a time series."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    text: str
    rows: tuple[tuple[Panel, ...], ...]


def render(board: Board, others: Sequence[Board]) -> Json:
    """Return a dashboard as Grafana imports it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.text,
        "tags": ["coppice"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": [_alerts()]},
        "links": [_link(other) for other in others if other != board],
        "panels": _placed(board.rows),
    }


def _variables() -> list[Json]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
            "refresh": 1,
        },
        {
            "name": "model",
            "label": "Model",
            "type": "query",
            "datasource": SOURCE,
            "query": {
                "query": "label_values(coppice_monitor_last_success_timestamp_seconds, model)",
                "refId": "model",
            },
            "current": {},
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "refresh": 2,
            "sort": 1,
        },
    ]


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Coppice.*",alertstate="firing",model=~"$model"}',
        "titleFormat": "{{alertname}}",
        "step": "60s",
    }


def _link(board: Board) -> Json:
    return {
        "title": board.title,
        "type": "link",
        "url": f"/d/{board.uid}",
        "keepTime": True,
        "includeVars": True,
        "targetBlank": False,
    }


def _placed(rows: Sequence[Sequence[Panel]]) -> list[Json]:
    placed: list[Json] = []
    top = 0
    for row in rows:
        left = 0
        for panel in row:
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            placed.append(_panel(panel, len(placed) + 1, place))
            left += panel.width
        top += max(panel.height for panel in row)
    return placed


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> Json:
    return {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": dict(place),
        "targets": [_target(panel, place, query) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, place: int, query: Query) -> Json:
    target: Json = {
        "refId": chr(ord("A") + place),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "editorMode": "code",
        "range": panel.kind == "timeseries",
        "instant": panel.kind != "timeseries",
    }
    return target | {"format": "table"} if panel.kind == "table" else target


def _defaults(panel: Panel) -> Json:
    steps = [{"value": value, "color": colour} for value, colour in panel.steps]
    defaults: Json = {
        "unit": panel.unit,
        "noValue": "no data",
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
    }
    bounds = {"min": panel.low, "max": panel.high, "decimals": panel.decimals}
    defaults |= {name: value for name, value in bounds.items() if value is not None}
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 2, "fillOpacity": 5, "showPoints": "never"}
    if panel.line is not None:
        defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
        defaults["thresholds"]["steps"] = [
            {"value": None, "color": "transparent"},
            {"value": panel.line, "color": "red"},
        ]
    return defaults


def _options(panel: Panel) -> Json:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {
                "reduceOptions": last,
                "textMode": panel.says,
                "colorMode": "background" if panel.steps != PLAIN else "value",
                "graphMode": "none",
                "justifyMode": "center",
            }
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
