"""The controller's doors over HTTP: statuses, bodies, and what lands in the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coppice import records, settings
from coppice.testing import ManualClock, MemoryLog
from deploy import facts, gate, http
from deploy.recorder import Recorder
from tests.support import asgi, rollouts
from tests.support.rollouts import BEGUN, MODEL, A, B, canary, shadow, state, table

PROMOTE = rollouts.verdict("promote", evidence={"promote": 3.5}, counts={"pairs": 9})
ROLLBACK = rollouts.verdict("rollback")
A_AND_B = table(2, candidate=B)
ADA = {"x-coppice-actor": "ada"}
FLAGGER = {
    "name": MODEL,
    "namespace": "ml",
    "phase": "Progressing",
    "checksum": "1",
    "metadata": {},
}
FIRING = {
    "status": "firing",
    "labels": {"alertname": "HighErrors", "model": MODEL, "version": B},
    "annotations": {"summary": "one in ten fails"},
    "startsAt": "2023-11-14T22:13:20.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "1",
}
WEBHOOK = {"version": "4", "status": "firing", "receiver": "coppice", "alerts": [FIRING]}


@dataclasses.dataclass
class Stage:
    """A log and the view of it; the doors read both."""

    log: MemoryLog = dataclasses.field(default_factory=MemoryLog)
    age: float = 0.0
    seen: gate.View | None = None

    def view(self, max_age: float) -> gate.View | None:
        return self.seen if self.age <= max_age else None

    def tell(self, *found: records.Record) -> None:
        self.log.append([rollouts.event(record) for record in found])
        history = facts.History(MODEL)
        for event in self.log.newest(100):
            history.add(event)
        self.seen = gate.View.of(history, A_AND_B, auto=True)

    def commands(self) -> list[records.Record]:
        return [records.unseal(event) for event in self.log.newest(9, records.Command)]


Open = Callable[..., asgi.Client]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def opened(stage: Stage, tmp_path: Path) -> Open:
    """Open doors with some settings of `[rollout]`."""

    def open_doors(*, workload: str = "", **rollout: Any) -> asgi.Client:
        tables = {"project": {"name": MODEL}, "cluster": {"workload": workload}, "rollout": rollout}
        tree = settings.from_tree(tables, root=tmp_path)
        doors = http.Doors(stage, stage.log, tree, ManualClock(), Recorder(MODEL))
        return asgi.Client(http.app(doors))

    return open_doors


@pytest.fixture
def client(opened: Open) -> asgi.Client:
    return opened()


class TestTheVerdict:
    def test_it_is_told_plainly_and_in_the_one_field_that_argo_looks_for(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(shadow(generation=2), PROMOTE)
        answer = client.get("/v1/verdict", params={"model": MODEL})
        plain = {
            "verdict": "promote",
            "reason": "evidence says promote",
            "evidence": {"promote": 3.5},
            "counts": {"pairs": 9},
            "label_coverage": 0.0,
            "version": B,
            "model": MODEL,
            "generation": 2,
            "routed_generation": 2,
            "newest_event": BEGUN,
        }
        assert (answer.status_code, answer.json()) == (200, {**plain, "data": plain})

    def test_a_version_may_be_named(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(shadow(), ROLLBACK)
        found = client.get("/v1/verdict", params={"version": A}).json()
        assert (found["verdict"], found["version"]) == ("promote", A)

    def test_another_model_is_undecided_and_no_error(self, client: asgi.Client) -> None:
        answer = client.get("/v1/verdict", params={"model": "cats"})
        assert (answer.status_code, answer.json()["data"]["verdict"]) == (200, "undecided")
        assert "'tiny', not 'cats'" in answer.json()["reason"]

    def test_before_the_log_was_read_it_is_undecided(self, client: asgi.Client) -> None:
        answer = client.get("/v1/verdict")
        assert (answer.status_code, answer.json()["verdict"]) == (200, "undecided")

    @pytest.mark.parametrize(("age", "verdict"), [(30.0, "promote"), (30.1, "undecided")])
    def test_what_is_too_old_decides_nothing(
        self, stage: Stage, client: asgi.Client, age: float, verdict: str
    ) -> None:
        stage.tell(shadow(), PROMOTE)
        stage.age = age
        assert client.get("/v1/verdict").json()["verdict"] == verdict


class TestFlaggersHooks:
    @pytest.mark.parametrize(
        ("hook", "status"),
        [
            ("confirm-rollout", 200),
            ("rollout", 200),
            ("confirm-traffic-increase", 409),
            ("confirm-promotion", 409),
            ("rollback", 409),
            ("event", 200),
        ],
    )
    def test_the_status_is_the_answer(
        self, stage: Stage, client: asgi.Client, hook: str, status: int
    ) -> None:
        stage.tell(canary())
        answer = client.post(f"/flagger/{hook}", json=FLAGGER)
        assert (answer.status_code, answer.json()["version"]) == (status, B)

    @pytest.mark.parametrize(
        "path",
        [
            "/flagger/rollbacks",
            "/flagger/rollback/",
            "/flagger/",
            "/flagger",
            "/flagger/rollback/x",
            "/rollback",
            "/",
        ],
    )
    def test_no_other_path_is_ever_a_success(
        self, stage: Stage, client: asgi.Client, path: str
    ) -> None:
        stage.tell(canary(), ROLLBACK)
        assert client.post(path, json=FLAGGER).status_code == 404

    def test_another_canary_is_none_of_ours(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary(), ROLLBACK)
        answer = client.post("/flagger/rollback", json={**FLAGGER, "name": "cats"})
        assert (answer.status_code, "'cats'" in answer.json()["error"]) == (404, True)

    def test_a_canary_of_another_name_may_name_the_model(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(canary(), ROLLBACK)
        call = {**FLAGGER, "name": "web", "metadata": {"model": MODEL, "version": B}}
        assert client.post("/flagger/rollback", json=call).status_code == 200

    def test_the_workload_of_the_settings_is_the_canary(self, stage: Stage, opened: Open) -> None:
        stage.tell(canary(), ROLLBACK)
        client = opened(workload="web")
        call = {**FLAGGER, "name": "web"}
        assert client.post("/flagger/rollback", json=call).status_code == 200
        assert client.post("/flagger/rollback", json=FLAGGER).status_code == 404

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 3}'])
    def test_a_body_that_is_no_hooks_is_refused(
        self, stage: Stage, client: asgi.Client, body: bytes
    ) -> None:
        stage.tell(canary(), ROLLBACK)
        assert client.post("/flagger/rollback", content=body).status_code == 400

    def test_a_hook_is_asked_by_post_alone(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary(), ROLLBACK)
        assert client.get("/flagger/rollback").status_code == 405

    def test_before_the_log_was_read_nothing_is_rolled_back(self, client: asgi.Client) -> None:
        assert client.post("/flagger/rollback", json=FLAGGER).status_code == 409
        assert client.post("/flagger/confirm-promotion", json=FLAGGER).status_code == 409


class TestCommands:
    @pytest.mark.parametrize("action", ["promote", "abort", "pause"])
    def test_a_command_lies_in_the_log_with_who_and_why(
        self, stage: Stage, client: asgi.Client, action: str
    ) -> None:
        stage.tell(canary())
        asked = {"actor": "ada", "reason": "the board meets"}
        answer = client.post(f"/v1/rollouts/{MODEL}/{action}", json=asked)
        assert answer.status_code == 202
        (command,) = stage.commands()
        assert command == records.Command(model=MODEL, action=action, **asked)  # type: ignore[arg-type]
        event = stage.log.latest(MODEL, records.Command)
        assert event is not None
        assert answer.json() == {"command": event.id, "action": action}

    def test_a_paused_rollout_may_go_on(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary(paused=True))
        answer = client.post(f"/v1/rollouts/{MODEL}/resume", headers=ADA)
        assert answer.status_code == 202

    def test_who_asks_may_be_told_by_a_header(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary())
        client.post(f"/v1/rollouts/{MODEL}/pause", headers=ADA)
        assert stage.commands() == [rollouts.command("pause", actor="ada")]

    @pytest.mark.parametrize("actor", ["", "  ", "coppice", "a" * 1001])
    def test_nobody_asks_without_a_name_or_in_ours(
        self, stage: Stage, client: asgi.Client, actor: str
    ) -> None:
        stage.tell(canary())
        answer = client.post(f"/v1/rollouts/{MODEL}/pause", json={"actor": actor})
        assert (answer.status_code, stage.commands()) == (400, [])

    def test_what_the_state_does_not_allow_is_refused_with_the_reason(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(state())
        answer = client.post(f"/v1/rollouts/{MODEL}/abort", headers=ADA)
        assert answer.status_code == 409
        assert "no rollout is running" in answer.json()["error"]
        assert stage.commands() == []

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v1/rollouts/cats/pause", 404),
            (f"/v1/rollouts/{MODEL}/explode", 404),
            (f"/v1/rollouts/{MODEL}", 405),
        ],
    )
    def test_what_there_is_not_is_not_found(
        self, stage: Stage, client: asgi.Client, path: str, status: int
    ) -> None:
        stage.tell(canary())
        assert client.post(path, headers=ADA).status_code == status
        assert stage.commands() == []

    def test_without_the_token_nothing_is_done(self, stage: Stage, opened: Open) -> None:
        stage.tell(canary())
        client = opened(token="s3cret", alerts="abort")
        command = client.post(f"/v1/rollouts/{MODEL}/pause", headers=ADA)
        assert (command.status_code, command.headers["www-authenticate"]) == (401, "Bearer")
        assert client.post("/alertmanager", json=WEBHOOK).status_code == 401
        assert stage.commands() == []
        right = {**ADA, "authorization": "Bearer s3cret"}
        assert client.post(f"/v1/rollouts/{MODEL}/pause", headers=right).status_code == 202

    def test_where_others_can_ask_nothing_is_done_without_one(
        self, stage: Stage, opened: Open
    ) -> None:
        stage.tell(canary())
        client = opened(host="0.0.0.0")
        assert client.post(f"/v1/rollouts/{MODEL}/pause", headers=ADA).status_code == 403
        assert client.get("/v1/verdict").status_code == 200
        assert client.post("/flagger/rollout", json=FLAGGER).status_code == 200

    def test_a_body_without_end_is_cut_off(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary())
        long = b" " * (http.MAX_BODY_BYTES + 1)
        assert client.post(f"/v1/rollouts/{MODEL}/pause", content=long).status_code == 413

    def test_a_log_that_is_closed_is_an_error_of_ours(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(canary())
        stage.log.close()
        assert client.post(f"/v1/rollouts/{MODEL}/pause", headers=ADA).status_code == 503


class TestAlerts:
    @pytest.mark.parametrize("action", ["pause", "abort"])
    def test_an_alert_about_the_candidate_does_what_is_set(
        self, stage: Stage, opened: Open, action: str
    ) -> None:
        stage.tell(canary())
        answer = opened(alerts=action).post("/alertmanager", json=WEBHOOK)
        assert (answer.status_code, answer.json()["done"]) == (200, action)
        (command,) = stage.commands()
        assert command == records.Command(
            model=MODEL,
            action=action,  # type: ignore[arg-type]
            actor="alertmanager",
            reason="alert HighErrors: one in ten fails",
        )

    def test_by_default_it_is_only_noted(self, stage: Stage, client: asgi.Client) -> None:
        stage.tell(canary())
        answer = client.post("/alertmanager", json=WEBHOOK)
        assert (answer.status_code, answer.json()["done"]) == (200, "noted")
        assert stage.commands() == []

    def test_an_alert_about_something_else_does_nothing(self, stage: Stage, opened: Open) -> None:
        stage.tell(state())
        answer = opened(alerts="abort").post("/alertmanager", json=WEBHOOK)
        assert (answer.status_code, answer.json()["done"]) == (200, "nothing")
        assert stage.commands() == []

    def test_who_knows_nothing_wants_to_be_told_again(self, stage: Stage, opened: Open) -> None:
        stage.tell(canary())
        stage.age = 31.0
        assert opened(alerts="abort").post("/alertmanager", json=WEBHOOK).status_code == 503
        assert stage.commands() == []

    @pytest.mark.parametrize("body", [b"{", b"{}", b'{"alerts": [{"status": "odd"}]}'])
    def test_what_is_no_webhook_is_refused(self, client: asgi.Client, body: bytes) -> None:
        assert client.post("/alertmanager", content=body).status_code == 400


class TestTheRest:
    def test_the_state_is_told_with_the_routes_and_the_verdict(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(canary(), PROMOTE)
        found = client.get(f"/v1/rollouts/{MODEL}").json()
        assert (found["state"]["stage"], found["routed"]["candidate"]) == ("canary", B)
        assert (found["verdict"]["verdict"], found["rolled_back"]) == ("promote", {})

    def test_before_the_log_was_read_there_is_no_state(self, client: asgi.Client) -> None:
        found = client.get(f"/v1/rollouts/{MODEL}").json()
        assert (found["state"], found["routed"]) == (None, None)

    def test_the_state_of_another_model_is_not_here(self, client: asgi.Client) -> None:
        assert client.get("/v1/rollouts/cats").status_code == 404

    def test_it_is_alive_before_it_is_ready(self, stage: Stage, client: asgi.Client) -> None:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        stage.tell(state())
        assert client.get("/readyz").status_code == 200

    def test_it_stays_ready_while_its_view_grows_old(
        self, stage: Stage, client: asgi.Client
    ) -> None:
        stage.tell(state())
        stage.age = 3600.0
        assert client.get("/readyz").status_code == 200

    def test_metrics_are_those_of_the_controller(self, client: asgi.Client) -> None:
        answer = client.get("/metrics")
        assert "coppice_rollout_external_edits_total" in answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_without_a_port_nothing_is_opened(stage: Stage, tmp_path: Path) -> None:
    tree = settings.from_tree({"project": {"name": MODEL}}, root=tmp_path)
    doors = http.Doors(stage, stage.log, tree, ManualClock(), Recorder(MODEL))
    with http.opened(doors, tree.rollout) as port:
        assert port is None
