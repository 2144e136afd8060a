"""Debian's promtool: check rules, and run them over made-up series."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support import house

FOLDER = house.ROOT / "monitoring" / "rules"
FILES = sorted(FOLDER.glob("*.yaml"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


class Look(NamedTuple):
    """A query at a time, and what it finds: series written as in PromQL, with their values."""

    at: str
    query: str
    finds: Mapping[str, float]


class Told(NamedTuple):
    """An alert at a time, with all its labels and every word that it says."""

    at: str
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def firing(alert: str) -> str:
    """Query whether an alert fires."""
    return f'ALERTS{{alertname="{alert}",alertstate="firing"}}'


def fired(alert: str, **labels: str) -> str:
    """Write the series that an alert leaves while it fires."""
    pairs = {"alertname": alert, "alertstate": "firing", **labels}
    return "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in pairs.items()) + "}"


@functools.cache
def groups() -> list[dict[str, Any]]:
    """Return every group of every file."""
    return [group for path in FILES for group in yaml.safe_load(path.read_text())["groups"]]


def rules(kind: str) -> list[dict[str, Any]]:
    """Return every rule of a kind, `alert` or `record`."""
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def hear(folder: Path, series: Mapping[str, str], told: Told) -> None:
    """Run all rules over series of one sample a minute, and compare what one alert says."""
    expected = {"exp_labels": dict(told.labels), "exp_annotations": dict(told.annotations)}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": told.at, "alertname": told.alert, "exp_alerts": [expected]}
        ],
    }
    path = folder / "test.yaml"
    path.write_text(json.dumps({"rule_files": [str(each) for each in FILES], "tests": [test]}))
    run("test", "rules", path)


def files_for(alert: str) -> list[Path]:
    """Return the files that an alert needs: its own, and the recording rules if it uses them."""
    (own,) = (path for path in FILES if f"- alert: {alert}\n" in path.read_text())
    (expr, *_) = (rule["expr"] for rule in rules("alert") if rule["alert"] == alert)
    return [FOLDER / "recording.yaml", own] if "model:coppice" in expr else [own]


def run(*words: str | Path) -> str:
    """Run promtool and return what it says; it must not complain."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def play(
    folder: Path,
    series: Mapping[str, str],
    looks: Sequence[Look],
    *,
    interval: str = "1m",
    files: Sequence[Path] = FILES,
) -> None:
    """Run rules, by default all, over series of one sample each interval, then look."""
    test = {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": look.query,
                "eval_time": look.at,
                "exp_samples": [{"labels": s, "value": v} for s, v in look.finds.items()],
            }
            for look in looks
        ],
    }
    path = folder / "test.yaml"
    # JSON is YAML.
    path.write_text(
        json.dumps(
            {
                "rule_files": [str(each) for each in files],
                "evaluation_interval": interval,
                "tests": [test],
            }
        )
    )
    run("test", "rules", path)
