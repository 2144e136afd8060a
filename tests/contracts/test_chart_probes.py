"""What kubelets and rollout tools ask pods for is there, and pods get the time that they take."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from starlette import applications, routing

from coppice import clock
from deploy import gate, http
from monitoring import http as monitoring_http
from service import openapi, serve
from tests.support import chart, manifests

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def paths(app: applications.Starlette) -> set[str]:
    return {route.path for route in app.routes if isinstance(route, routing.Route)}


class Nobody:
    """A monitor that knows nothing: only the addresses of its answers are looked at."""

    def status(self) -> None:
        return None

    def report(self, name: str) -> None:
        del name


# Doors that are never asked need no log.
CONTROLLER = paths(http.app(http.Doors.__new__(http.Doors)))
MONITOR = paths(monitoring_http.app(Nobody(), "digits", clock.SystemClock()))  # type: ignore[arg-type]
SERVER = set(openapi.document("digits", None)["paths"])
ANSWERED = {("server", 3000): SERVER, ("monitor", 3001): MONITOR, ("controller", 3002): CONTROLLER}


def asked(found: chart.Release) -> Iterator[tuple[str, int, str]]:
    """Yield container, port and path of every probe."""
    for pod in manifests.pods(found.objects):
        for box in pod.everything:
            ports = {each["name"]: each["containerPort"] for each in box.get("ports", [])}
            for probe in (box[name]["httpGet"] for name in PROBES if name in box):
                yield box["name"], ports[probe["port"]], probe["path"]


@pytest.mark.parametrize("mode", ["argo-rollout", "local", "gateway"])
def test_every_probe_asks_for_what_its_process_answers(mode: str) -> None:
    found = set(asked(chart.release(mode)))
    assert {name for name, _, _ in found} >= {"server", "monitor"}
    assert [each for each in found if each[2] not in ANSWERED[each[:2]]] == []


def test_what_argo_and_flagger_ask_for_is_answered() -> None:
    argo, flagger = chart.release("argo-rollout"), chart.release("flagger")
    questions = {
        urllib.parse.urlsplit(metric["provider"]["web"]["url"]).path
        for each in chart.of_kind(argo.objects, "AnalysisTemplate")
        for metric in each["spec"]["metrics"]
    }
    (canary,) = chart.of_kind(flagger.objects, "Canary")
    hooks = {
        urllib.parse.urlsplit(each["url"]).path for each in canary["spec"]["analysis"]["webhooks"]
    }
    assert questions <= CONTROLLER
    assert "/flagger/{hook}" in CONTROLLER
    assert hooks == {f"/flagger/{hook}" for hook in gate.Hook.__args__}


def seconds(**server: Any) -> chart.Release:
    return chart.render(chart.changed("local", **{f"server__{k}": v for k, v in server.items()}))


def test_a_pod_has_the_time_that_its_server_takes_to_drain() -> None:
    pause = 5
    least = pause + serve.GRACEFUL_SECONDS
    enough = seconds(preStop={"seconds": pause}, terminationGracePeriodSeconds=least + 1)
    (pod,) = [each for each in manifests.pods(enough.objects) if each.owner.endswith("-server")]
    assert pod.spec["terminationGracePeriodSeconds"] == least + 1
    with pytest.raises(chart.engine().HelmRenderError, match=f"must be above {least}"):
        seconds(preStop={"seconds": pause}, terminationGracePeriodSeconds=least)
