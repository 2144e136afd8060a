"""What a cluster's pods are told, worked out from the routing table.

A pod template is the unit of release: a change of it makes new pods, and the rollout tool moves the
traffic from the old ones to them. So the template names the version that its pods answer with, and
changes only when that version does. A pod of the candidate mirrors its requests to the champion
inside itself, so that each answer has its pair; no weight is split inside a pod, because the tool
splits the traffic between pods.

The whole routing table lies beside it in an annotation of the workload, which makes no pods. What
else changes (the trial ended, the previous champion is dropped) reaches the pods that run by an
annotation of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from coppice import errors, routing

PREFIX = "coppice.dev"
ROUTING = f"{PREFIX}/routing"
"""On pod templates and pods: what a pod routes by."""
TABLE = f"{PREFIX}/table"
"""On the workload: the whole routing table, as the controller wants it."""
STABLE = f"{PREFIX}/stable"
"""On the workload: what the template said before the candidate came."""


class Templates(NamedTuple):
    """What the pod template says, and what it goes back to."""

    now: str
    stable: str


def encode(table: routing.RoutingTable) -> str:
    """Return a table as an annotation's value."""
    return msgspec.json.encode(table).decode()


def decode(text: str) -> routing.RoutingTable:
    """Read a table out of an annotation.

    Raises
    ------
    ClusterProblem
        It is none.
    """
    try:
        return msgspec.json.decode(text, type=routing.RoutingTable)
    except msgspec.MsgspecError as cause:
        message = (
            f"an annotation of {PREFIX} holds no routing table ({cause}); remove it, and the "
            "controller writes it anew"
        )
        raise errors.ClusterProblem(message) from cause


def answering(text: str) -> str | None:
    """Return the version that pods of a template answer with; `None` for what is no table.

    >>> answering('{"model":"m","champion":"m:1"}')
    'm:1'
    >>> answering('{"model":"m","champion":"m:1","candidate":"m:2","weight":1.0}')
    'm:2'
    """
    try:
        table = msgspec.json.decode(text, type=routing.RoutingTable)
    except msgspec.MsgspecError:
        return None
    return table.candidate if table.candidate and table.weight > 0.0 else table.champion


def live(table: routing.RoutingTable, version: str) -> routing.RoutingTable | None:
    """Return what a pod that answers with a version routes by.

    Returns
    -------
    RoutingTable or None
        `None` for a pod of a version that the table does not name; it is about to go.
    """
    if version == table.champion:
        return msgspec.structs.replace(table, candidate=None, weight=0.0, mirror=0.0)
    if version == table.candidate:
        return msgspec.structs.replace(table, weight=1.0)
    return None


def templates(table: routing.RoutingTable, before: Templates) -> Templates:
    """Return what the pod template must say, so that pods answer as a table asks.

    It stays what it is while the version does; when a version returns, it says what it said before,
    to the letter, so that the tool knows the pods again and need not roll anything out.

    Parameters
    ----------
    table
        What is asked for.
    before
        What the workload says now; empty where it says nothing yet.
    """
    wanted = table.candidate or table.champion
    if answering(before.now) == wanted:
        return before
    if answering(before.stable) == wanted:
        return Templates(before.stable, before.stable)
    told = live(table, wanted)
    fresh = encode(told if told is not None else table)
    known = answering(before.now) == table.champion
    return Templates(fresh, before.now if known else fresh)
