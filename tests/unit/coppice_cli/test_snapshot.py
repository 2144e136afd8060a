from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from coppice import records, routing, settings
from coppice.eventlog.sqlite import SqliteLog
from coppice.registry.bento import BentoRegistry
from coppice_cli import snapshot
from coppice_cli.supervise import lock
from tests.support import artifacts, command_line, pages


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    ports = ["[serve]", f"port = {pages.free_port()}", "[monitor]", f"port = {pages.free_port()}"]
    return command_line.project(tmp_path / "project", *ports)


def _take(tree: settings.Settings) -> snapshot.Snapshot:
    log = SqliteLog(tree.log_path)
    try:
        return snapshot.take(tree, log, BentoRegistry(tree.registry_path), now=2_000_000_000.0)
    finally:
        log.close()


def _version(tree: settings.Settings, folder: Path, accepted: float) -> str:
    artifacts.linear_classifier(folder, accepted=accepted)
    return BentoRegistry(tree.registry_path).add(folder)


def test_before_anything_happened_there_is_little_to_see(tree: settings.Settings) -> None:
    seen = _take(tree)
    assert (seen.model, seen.rollout, seen.versions, seen.source) == ("tiny", None, (), "log")
    assert [process.phase for process in seen.processes] == ["does not answer"] * 2


def test_versions_come_with_their_lanes(tree: settings.Settings, tmp_path: Path) -> None:
    champion = _version(tree, tmp_path / "a", 0.95)
    candidate = _version(tree, tmp_path / "b", 0.93)
    table = routing.RoutingTable(
        model="tiny",
        generation=4,
        champion=champion,
        candidate=candidate,
        parent="tiny:gone",
        weight=0.1,
        mirror=1.0,
        parent_mirror=0.05,
    )
    routing.save(tree.routing_path, table)
    seen = _take(tree)
    assert seen.generation == 4
    assert [(version.part, version.lane, version.accepted) for version in seen.versions] == [
        ("champion", "stable 90%", 0.95),
        ("candidate", "canary 10%", 0.93),
        ("parent", "shadow 5%", None),
    ]


def test_a_candidate_in_shadow_answers_nobody(tree: settings.Settings) -> None:
    table = routing.RoutingTable(model="tiny", champion="tiny:a", candidate="tiny:b", mirror=0.5)
    routing.save(tree.routing_path, table)
    lanes = {version.part: version.lane for version in _take(tree).versions}
    assert lanes == {"champion": "stable 100%", "candidate": "shadow 50%"}


def test_while_watched_the_previous_champion_is_ready(tree: settings.Settings) -> None:
    table = routing.RoutingTable(model="tiny", champion="tiny:b", previous="tiny:a")
    routing.save(tree.routing_path, table)
    lanes = {version.part: version.lane for version in _take(tree).versions}
    assert lanes == {"champion": "stable 100%", "previous": "ready"}


def test_without_a_routing_table_the_aliases_tell_the_parts(
    tree: settings.Settings, tmp_path: Path
) -> None:
    parent = _version(tree, tmp_path / "p", 0.97)
    BentoRegistry(tree.registry_path).point("tiny", {"parent": parent})
    (version,) = _take(tree).versions
    assert (version.tag, version.part, version.lane) == (parent, "parent", "")


def test_the_newest_decisions_are_shown(tree: settings.Settings) -> None:
    made = records.Candidate(
        model="tiny", version="tiny:b", parent="tiny:p", status="accepted", reason="manual"
    )
    refused = msgspec.structs.replace(made, version="tiny:c", status="refused")
    retraining = records.Retraining(model="tiny", status="held", cause="world", reason="cool-down")
    command_line.keep(tree, made, refused, retraining)
    seen = _take(tree)
    assert seen.last_candidate == snapshot.Dated(1_700_000_001.0, refused)
    assert seen.last_retraining == snapshot.Dated(1_700_000_002.0, retraining)


def test_evidence_decides_at_the_logarithm_of_the_level(tree: settings.Settings) -> None:
    # alpha is 0.05 by default: ln(20).
    assert _take(tree).evidence_needed == pytest.approx(2.9957, abs=1e-4)


def test_processes_are_those_of_the_running_up(tree: settings.Settings) -> None:
    child = lock.ChildStatus(
        name="serve", phase="running", pid=17, restarts=2, reason="", log="serve.log"
    )
    with lock.hold(tree.home):
        lock.write_status(tree.home, lock.Status(pid=1, started_at=0.0, children=(child,)))
        seen = _take(tree)
    assert seen.processes == (snapshot.Process(name="serve", phase="running", pid=17, restarts=2),)


def test_without_up_a_server_is_known_by_its_model(tmp_path: Path) -> None:
    with pages.serving({"/v2/models/tiny": (200, {"name": "tiny"})}) as server:
        doors = [f"port = {server.port}", "[monitor]", f"port = {pages.free_port()}"]
        tree = command_line.project(tmp_path, "[serve]", *doors)
        seen = _take(tree)
    assert {process.name: process.phase for process in seen.processes} == {
        "serve": "answers",
        "monitor": "does not answer",
    }


def test_a_snapshot_is_plain_json(tree: settings.Settings) -> None:
    seen = _take(tree)
    decoded = msgspec.json.decode(msgspec.json.encode(seen))
    assert decoded["model"] == "tiny"
    assert decoded["processes"][0] == {
        "name": "serve",
        "phase": "does not answer",
        "pid": None,
        "restarts": 0,
    }


def test_a_server_that_cannot_answer_clients_says_why(tmp_path: Path) -> None:
    with pages.serving({"/v2/models/tiny/ready": (503, {"error": "it is corrupt"})}) as server:
        doors = [f"port = {server.port}", "[monitor]", f"port = {pages.free_port()}"]
        tree = command_line.project(tmp_path, "[serve]", *doors)
        assert _take(tree).unready == ""  # before the first rollout there is nothing to answer with
        table = routing.RoutingTable(model="tiny", generation=1, champion="tiny:a")
        routing.save(tree.routing_path, table)
        assert _take(tree).unready == "it is corrupt"
