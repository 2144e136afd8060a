"""A live loop, Debian's Prometheus and Alertmanager: accuracy decays, and somebody is woken."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from coppice import records
from coppice_cli import scraping
from monitoring.dashboards import boards
from tests.support import command_line, prometheus, promtool, serving
from tests.support.promql import filled

pytestmark = [pytest.mark.slow, prometheus.needs_prometheus]

SECONDS = 120.0


BOARDS = ("overview", "rollout", "quality", "serving")
NOT_YET = {
    "Candidate is",
    "Mirrored copies",
    "Answered by stable instead",
    "Agreement with the dense parent",
    "Retrainings",
    "Steps of the rollout",
    "Drift by slice",
    "Firing now",
    "Retraining now",
    "What could not be joined",
}


def panels(board: str) -> dict[str, list[str]]:
    """Return the expressions of each panel, with the variables filled in."""
    found = boards.files()[f"{board}.json"]["panels"]
    return {
        panel["title"]: [
            filled(target["expr"]).replace("$model", serving.MODEL) for target in panel["targets"]
        ]
        for panel in found
    }


class Scene(NamedTuple):
    """A running loop that is being scraped, and who hears its alerts."""

    loop: serving.Server
    prometheus: prometheus.Prometheus
    webhook: prometheus.Webhook


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    ports = [serving.free_port() for _ in range(4)]
    made = serving.project(
        tmp_path_factory.mktemp("project"),
        serve={"port": ports[0]},
        monitor={"port": ports[1], "poll_seconds": 0.1},
        retrain={"metrics_port": ports[2], "enabled": False},
        rollout={"metrics_port": ports[3], "poll_seconds": 0.1},
        drift={"window": 50},
        decay={"false_alarm_labels": 100, "min_labels": 30, "window": 50},
    )
    made.tree.routing_path.unlink()
    first = records.Candidate(
        model=serving.MODEL,
        version=made.champion,
        parent=made.parent,
        status="accepted",
        reason="manual",
    )
    command_line.keep(made.tree, first, now=time.time())
    return made


@contextlib.contextmanager
def up(made: serving.Project) -> Iterator[serving.Server]:
    output = made.tree.root / "up.log"
    command = [sys.executable, "-P", "-m", "coppice_cli", "up", "-C", str(made.tree.root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    running = serving.Server(process, f"http://127.0.0.1:{made.tree.serve.port}", output)
    try:
        running.wait_until(lambda: serving.is_ready(running))
        yield running
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def scene(project: serving.Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("prometheus")
    port, alertmanager = serving.free_port(), serving.free_port()
    with prometheus.webhook() as ear:
        found = scraping.files(
            project.tree, webhook=ear.url, alertmanager=f"127.0.0.1:{alertmanager}"
        )
        # As exported, but for the pace: a test has no quarter of a minute to spare.
        quick = {"15s": "1s", "group_wait: 10s": "group_wait: 1s"}
        for name in ("prometheus.yml", "alertmanager.yml"):
            for slow, fast in quick.items():
                found[name] = found[name].replace(slow, fast)
        scraping.write(folder, found)
        with up(project) as loop, prometheus.running(folder, port, alertmanager) as watching:
            watching.wait_until_up(4)
            yield Scene(loop, watching, ear)


def serve(scene: Scene, count: int, *, shift: float, truth: tuple[str, str]) -> None:
    """Send requests of one row and label them; `truth` is the label below and above nought."""
    rows = np.random.default_rng(count).standard_normal((count, 4)) + shift
    for row in rows.tolist():
        answer = scene.loop.ask(serving.INFER, serving.infer_body([row]))
        label = truth[sum(row) > 0]
        body = {"request_id": answer.json["id"], "labels": [label]}
        assert scene.loop.ask("/feedback", json.dumps(body).encode()).status == 200


@pytest.fixture(scope="module")
def healthy(scene: Scene) -> Scene:
    serve(scene, 80, shift=0.0, truth=("no", "yes"))
    # The measures of the task come in a later turn than the verdict.
    for shown in ('coppice_verdict{scope="champion",kind="healthy"}', "coppice_quality"):
        answered = functools.partial(scene.prometheus.query, shown)
        serving.wait_until(answered, scene.loop.output.read_text)
    return scene


@pytest.fixture(scope="module")
def decayed(healthy: Scene) -> Scene:
    # The world turns round: what was yes is no.
    serve(healthy, 100, shift=2.0, truth=("yes", "no"))
    return healthy


def test_while_all_is_well_nobody_is_woken(healthy: Scene) -> None:
    assert healthy.prometheus.query('ALERTS{alertstate="firing"}') == []


def test_every_rule_is_evaluated_without_an_error(healthy: Scene) -> None:
    groups = healthy.prometheus.ask("/api/v1/rules")["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    named = {rule.get("alert") or rule["record"] for g in promtool.groups() for rule in g["rules"]}
    assert set(found) == named
    assert {name: rule["lastError"] for name, rule in found.items() if "lastError" in rule} == {}


def test_the_servers_metrics_carry_the_model(healthy: Scene) -> None:
    (requests,) = healthy.prometheus.query("model:coppice_requests:rate5m")
    assert requests["metric"]["model"] == serving.MODEL


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_asks_what_prometheus_answers(healthy: Scene, name: str) -> None:
    for expressions in panels(name).values():
        for expression in expressions:
            healthy.prometheus.query(expression)


def without_data(scene: Scene) -> set[str]:
    """The panels that show nothing."""
    return {
        title
        for board in BOARDS
        for title, expressions in panels(board).items()
        if not any(scene.prometheus.query(expression) for expression in expressions)
    }


def test_only_what_has_not_happened_is_without_data(healthy: Scene) -> None:
    # No candidate, no dense parent beside it, no slices, no retraining, no alert, no label out of
    # place; the first champion came before the first scrape. Rates are there after two scrapes.
    serving.wait_until(
        lambda: without_data(healthy) == NOT_YET, lambda: str(without_data(healthy) ^ NOT_YET)
    )


def test_a_decay_arrives_at_the_webhook_with_its_cause_and_its_page(decayed: Scene) -> None:
    alert = decayed.webhook.wait_for("CoppiceDecay", SECONDS)
    assert alert["labels"] == {
        "alertname": "CoppiceDecay",
        "model": serving.MODEL,
        "cause": "world",
        "severity": "page",
    }
    assert alert["annotations"]["summary"] == "tiny is worse than accepted; cause: world"
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/decay.md"
