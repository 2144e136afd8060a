"""States, facts and events of rollouts, with everything that a test does not speak of filled in."""

from __future__ import annotations

from typing import Any

from coppice import records, routing
from deploy import facts, tables
from deploy.policy import Policy

MODEL = "tiny"
A, B, C, D = "tiny:aaaaaaaaaaaa", "tiny:bbbbbbbbbbbb", "tiny:cccccccccccc", "tiny:dddddddddddd"
PARENT = "tiny:999999999999"
PARENTS = {A: PARENT, B: PARENT, C: PARENT, D: None}
BEGUN = 1000.0
"""When the stage of every state below began, seconds."""


def state(**changes: Any) -> records.Rollout:
    """A settled state: A is champion, and nothing is rolled out."""
    plain = {"stage": "idle", "champion": A, "outcome": "promoted", "reason": "", "since": BEGUN}
    return records.Rollout(model=MODEL, **{**plain, **changes})


def shadow(**changes: Any) -> records.Rollout:
    """B is compared with A in shadow."""
    return state(**{"stage": "shadow", "candidate": B, "outcome": "started", **changes})


def canary(weight: float = 0.1, step: int = 0, **changes: Any) -> records.Rollout:
    """B answers part of the traffic beside A."""
    plain = {"stage": "canary", "candidate": B, "outcome": "advanced"}
    return state(**{**plain, "weight": weight, "step": step, **changes})


def watch(**changes: Any) -> records.Rollout:
    """B was promoted, and A is kept for an instant rollback."""
    return state(**{"stage": "watch", "champion": B, "previous": A, **changes})


def known(after: records.Rollout | None, **changes: Any) -> facts.Facts:
    """Facts under which nothing is to be done: the world is what the state asks for."""
    policy = Policy()
    table = None if after is None else tables.table_of(after, PARENTS, policy)
    return facts.Facts(**{"table": table, "parents": PARENTS, **changes})


def candidate(version: str = B, status: Any = "accepted") -> records.Candidate:
    return records.Candidate(
        model=MODEL, version=version, parent=PARENT, status=status, reason="world"
    )


def verdict(kind: Any, version: str = B, **changes: Any) -> records.Verdict:
    """A verdict on the candidate."""
    plain = {"model": MODEL, "scope": "candidate", "reason": f"evidence says {kind}"}
    return records.Verdict(**{**plain, "version": version, "kind": kind, **changes})


def decay(version: str = B, cause: Any = "release") -> records.Verdict:
    """A verdict on the champion."""
    return verdict(
        "decay", version, scope="champion", cause=cause, reason=f"decay because of {cause}"
    )


def command(action: Any, actor: str = "ada") -> records.Command:
    return records.Command(model=MODEL, action=action, actor=actor)


def answer(version: str = B, **changes: Any) -> records.Prediction:
    """One answered request."""
    plain = {"request_id": "r", "model": MODEL, "lane": "canary", "propensity": 0.1}
    return records.Prediction(
        **{**plain, "version": version, "key_hash": "", "latency_seconds": 0.01, **changes}
    )


def mirrored(version: str = B, error: str | None = None) -> records.Shadow:
    """One answer that no client got."""
    return records.Shadow(
        request_id="r", model=MODEL, version=version, role="candidate", against=A, error=error
    )


def noted(record: Any, identity: str = "event-1") -> Any:
    return facts.Noted(identity, record)


def event(record: records.Record, time: float = BEGUN) -> records.Event:
    return records.seal(record, source="test", now=time)


def table(generation: int = 1, **changes: Any) -> routing.RoutingTable:
    return routing.RoutingTable(
        **{"generation": generation, "model": MODEL, "champion": A, **changes}
    )
