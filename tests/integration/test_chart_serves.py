"""What the chart renders for a pod that serves is what the real server needs to serve by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import registry, routing, settings
from coppice_cli import moving
from tests.support import chart, manifests, scoring, serving

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)


def rendered(initial: str) -> chart.Release:
    """Render the chart for the model of the tests, with versions in a shared folder."""
    chosen = chart.values("registry-pvc")
    config = {**chosen["config"], "project": {"name": serving.MODEL, "task": "binary"}}
    return chart.render({**chosen, "config": config, "model": {"initialRef": initial}})


def variables(found: chart.Release) -> dict[str, str]:
    """Return the variables that the server's container gets with a value."""
    (box,) = [
        each
        for pod in manifests.pods(found.objects)
        for each in pod.spec["containers"]
        if each["name"] == "server"
    ]
    return {each["name"]: each["value"] for each in box["env"] if "value" in each}


def mounted(found: chart.Release, folder: Path) -> Path:
    """Lay out the folders of a pod, and return the project's."""
    (config,) = [each for each in found.objects if "coppice.toml" in each.get("data", {})]
    text = config["data"]["coppice.toml"].replace("/var/lib", str(folder))
    project = folder / "etc"
    (project / "routing").mkdir(parents=True)
    (project / settings.FILE).write_text(text)
    # An annotation that is not there yet.
    (project / "routing" / "routing.json").write_text("")
    return project


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> serving.Project:
    made = scoring.project(tmp_path / "made")
    found = rendered(made.champion)
    project = mounted(found, tmp_path)
    given: dict[str, Any] = {**variables(found), "COPPICE_PROJECT": str(project)}
    monkeypatch.setenv("COPPICE_SERVE__PORT", str(serving.free_port()))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    tree = settings.load(project)
    source, shared = registry.open_registry(made.tree), registry.open_registry(tree)
    tags = (made.champion, made.candidate)
    assert list(moving.push(source, shared, serving.MODEL, tags)) == [*tags]
    return dataclasses.replace(made, tree=tree)


def test_a_pod_answers_as_its_values_say_and_then_as_its_annotation_does(
    pod: serving.Project,
) -> None:
    table = routing.RoutingTable(
        generation=1,
        model=serving.MODEL,
        champion=pod.champion,
        candidate=pod.candidate,
        weight=1.0,
        mirror=1.0,
    )
    with serving.server(pod) as running:
        before = running.ask(serving.INFER, serving.infer_body())
        # Not by a rename: a kubelet's own files are links that it swaps.
        pod.tree.routing_path.write_bytes(msgspec.json.encode(table))
        running.wait_until(
            lambda: (
                running.ask(serving.INFER, serving.infer_body()).headers["x-coppice-version"]
                == pod.candidate
            )
        )
        code = running.stop()

    assert before.headers["x-coppice-version"] == pod.champion
    assert code == 0
    # What the relay ships lies where the relay's container finds it.
    assert pod.tree.outbox_path.parent == pod.tree.home
    assert pod.tree.outbox_path.exists()


def test_what_is_pulled_for_a_pod_is_what_it_will_answer_with(pod: serving.Project) -> None:
    assert moving.routed(pod.tree) == [pod.champion]
