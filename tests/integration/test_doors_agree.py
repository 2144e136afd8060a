"""Two controllers, each on its own replica of the log: the same events give the same answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import records, registry, settings
from coppice.eventlog import base
from coppice.eventlog.sqlite import SqliteLog
from coppice.testing import ManualClock
from deploy import http
from deploy.backends.local import LocalBackend
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import artifacts, asgi, rollouts
from tests.support.rollouts import MODEL

TABLES = {
    "project": {"name": MODEL},
    "events": {"backend": "kafka"},
    "kafka": {"servers": "nowhere:9092"},
    "rollout": {"steps": [0.5], "step_seconds": 0.0, "step_requests": 0},
}
HOOKS = (
    "confirm-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "rollback",
    "event",
)


class Reading(LocalBackend):
    """The backend of a controller that does not lead, until it does."""

    leading = False

    def leads(self) -> bool:
        return self.leading


@dataclasses.dataclass
class Replica:
    """One controller with its log, its backend and its doors."""

    log: SqliteLog
    backend: LocalBackend
    controller: Controller
    client: asgi.Client

    def told(self, path: str) -> bytes:
        return self.client.get(path).content

    def hooks(self) -> list[int]:
        body = {"name": MODEL, "namespace": "ml"}
        return [self.client.post(f"/flagger/{hook}", json=body).status_code for hook in HOOKS]

    def everything(self, version: str) -> list[object]:
        asked = ("/v1/verdict", f"/v1/verdict?version={version}", f"/v1/rollouts/{MODEL}")
        return [*map(self.told, asked), self.client.get("/readyz").status_code, self.hooks()]


@dataclasses.dataclass
class Pair:
    """A leader and another replica of it, in one world."""

    leader: Replica
    other: Replica
    clock: ManualClock
    first: str
    second: str

    def tell(self, record: records.Record) -> None:
        """Something happens; both controllers get to know it, and the leader acts."""
        event = records.seal(record, source="test", now=self.clock.now())
        self.leader.log.append([event])
        self.act()
        self.join()

    def act(self) -> None:
        """Let the leader do all that there is to do."""
        while self.leader.controller.turn() is not None:
            pass

    def join(self) -> None:
        """Bring the leader's events to the other replica, as relay and follower do."""
        self.other.log.append(self.leader.log.read(base.START).events)
        self.other.controller.turn()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    tree = settings.from_tree(TABLES, root=tmp_path)
    store = registry.open_registry(tree)
    artifacts.linear_classifier(tmp_path / "1", name=MODEL, accepted=0.9)
    artifacts.linear_classifier(tmp_path / "2", name=MODEL, accepted=0.8)
    first, second = (store.add(tmp_path / name) for name in ("1", "2"))
    clock = ManualClock()

    def replica(name: str, backend: LocalBackend) -> Replica:
        log = SqliteLog(tmp_path / name)
        recorder = Recorder(MODEL)
        controller = Controller(log, store, backend, tree, clock, recorder)
        doors = http.Doors(controller, log, tree, clock, recorder)
        return Replica(log, backend, controller, asgi.Client(http.app(doors)))

    leader = replica("leader.sqlite", LocalBackend(tree.routing_path))
    other = replica("other.sqlite", Reading(tree.routing_path))
    yield Pair(leader, other, clock, first, second)
    leader.log.close()
    other.log.close()


def agreed(pair: Pair) -> str:
    """Check that both answer alike, to the byte, and return the verdict."""
    assert pair.leader.everything(pair.second) == pair.other.everything(pair.second)
    verdict: str = pair.leader.client.get("/v1/verdict").json()["data"]["verdict"]
    return verdict


def test_the_same_events_give_the_same_answers_at_every_step(pair: Pair) -> None:
    pair.act()
    pair.join()
    assert agreed(pair) == "promote"
    pair.tell(rollouts.candidate(pair.first))
    assert agreed(pair) == "promote"
    pair.tell(rollouts.candidate(pair.second))
    assert agreed(pair) == "undecided"
    pair.tell(rollouts.verdict("undecided", pair.second, counts={"pairs": 3}))
    assert agreed(pair) == "undecided"
    pair.tell(rollouts.command("pause"))
    assert agreed(pair) == "undecided"
    pair.tell(rollouts.verdict("rollback", pair.second, slice="pen=ink"))
    # It is dropped at once, also while paused, and the routes show the champion alone.
    assert agreed(pair) == "promote"
    assert b'"rollback"' in pair.other.told(f"/v1/verdict?version={pair.second}")


def test_a_promotion_is_told_alike(pair: Pair) -> None:
    pair.tell(rollouts.candidate(pair.first))
    pair.tell(rollouts.candidate(pair.second))
    pair.tell(rollouts.verdict("promote", pair.second))
    assert agreed(pair) == "promote"
    assert pair.other.client.get("/v1/verdict").json()["version"] == pair.second


def test_a_replica_that_lags_holds_up_what_it_does_not_know_and_says_so(pair: Pair) -> None:
    pair.tell(rollouts.candidate(pair.first))
    pair.clock.advance(5.0)
    offered = rollouts.candidate(pair.second)
    pair.leader.log.append([records.seal(offered, source="test", now=pair.clock.now())])
    pair.act()
    pair.other.controller.turn()
    lagging = pair.other.client.get("/v1/verdict").json()
    ahead = pair.leader.client.get("/v1/verdict").json()
    assert (lagging["verdict"], lagging["version"]) == ("undecided", pair.second)
    assert (lagging["generation"], lagging["routed_generation"]) == (1, 2)
    assert ahead["newest_event"] - lagging["newest_event"] == 5.0
    pair.join()
    assert agreed(pair) == "undecided"


def test_a_view_that_is_not_renewed_decides_nothing(pair: Pair) -> None:
    pair.tell(rollouts.candidate(pair.first))
    assert agreed(pair) == "promote"
    pair.clock.advance(31.0)
    assert agreed(pair) == "undecided"
    pair.other.controller.turn()
    assert pair.other.client.get("/v1/verdict").json()["verdict"] == "promote"


def test_a_new_leader_waits_for_the_steps_of_the_old_one(pair: Pair) -> None:
    pair.tell(rollouts.candidate(pair.first))
    pair.leader.log.append([rollouts.event(rollouts.candidate(pair.second))])
    pair.act()
    # The old leader goes; its last step is in the routes, and not in this log yet.
    pair.other.backend.leading = True  # type: ignore[attr-defined]
    pair.other.log.append([rollouts.event(rollouts.candidate(pair.first))])
    assert pair.other.controller.turn() is None
    pair.join()
    state = pair.other.client.get(f"/v1/rollouts/{MODEL}").json()["state"]
    assert (state["stage"], state["candidate"]) == ("shadow", pair.second)
    # Caught up: it acts again.
    pair.other.log.append([rollouts.event(rollouts.command("abort"))])
    step = pair.other.controller.turn()
    assert step is not None
    assert step.rollout.outcome == "rolled-back"


def test_a_new_leader_goes_on_where_the_old_one_died_between_routes_and_log(pair: Pair) -> None:
    pair.tell(rollouts.candidate(pair.first))
    offered = rollouts.event(rollouts.candidate(pair.second))
    pair.leader.log.append([offered])
    pair.act()
    # The candidate reached the other replica, the event of the step never does.
    pair.other.log.append([offered])
    pair.other.backend.leading = True  # type: ignore[attr-defined]
    assert pair.other.controller.turn() is None
    pair.clock.advance(59.0)
    assert pair.other.controller.turn() is None
    pair.clock.advance(1.0)
    step = pair.other.controller.turn()
    assert step is not None
    assert (step.rollout.stage, step.rollout.candidate) == ("shadow", pair.second)
    assert step.rollout.generation == 2
