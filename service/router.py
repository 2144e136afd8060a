"""Where a request is served, and who else sees it: pure functions of hashes and the routing table.

The lane depends on the routing key alone, so a key stays on its lane as the weight grows. Which
requests are mirrored depends on the request id alone, so mirroring says nothing about the lane.
All hashes are keyed: a client cannot foresee them.
"""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

from coppice import errors, labels, records, routing


class Choice(NamedTuple):
    """A lane, and the probability with which the router chooses it for a random routing key."""

    lane: records.Lane
    propensity: float


class Mirrors(NamedTuple):
    """Who sees a copy of a request besides the lane that answers it."""

    pair: bool
    """The other version of champion and candidate."""
    parent: bool
    """The champion's dense parent."""


STABLE = Choice("stable", 1.0)
NOWHERE = Mirrors(pair=False, parent=False)


def choose(table: routing.RoutingTable, key: str, *, secret: str, open_: bool = True) -> Choice:
    """Choose the lane of a routing key.

    Each candidate draws its keys anew, so that it is not always the same clients who try first.

    >>> table = routing.RoutingTable(model="m", champion="m:1", candidate="m:2", weight=1.0)
    >>> choose(table, "ann", secret="s")
    Choice(lane='canary', propensity=1.0)

    Parameters
    ----------
    table
        The routing table.
    key
        The routing key: `x-coppice-key`, else the request id.
    secret
        Key of the hash.
    open_
        False while the candidate may not answer: not loaded, or shut by the crash guard.
    """
    candidate, weight = table.candidate, table.weight
    if candidate is None or weight <= 0.0 or not open_:
        return STABLE
    if labels.unit_interval(secret, "lane", candidate, key) < weight:
        return Choice("canary", weight)
    return Choice("stable", 1.0 - weight)


def forced(lane: str, *, allowed: bool, open_: bool) -> Choice:
    """Take the lane that a client insists on; its propensity is 1, because nothing was drawn.

    Raises
    ------
    RequestError
        There is no such lane, or `serve.allow_forced_lane` is off.
    NotReady
        The canary lane has no version that may answer.
    """
    if lane not in {"stable", "canary"}:
        message = f"x-coppice-lane is {lane[:40]!r}; the lanes are stable and canary"
        raise errors.RequestError(message)
    if not allowed:
        message = "x-coppice-lane is refused: serve.allow_forced_lane is off"
        raise errors.RequestError(message)
    if lane == "stable":
        return STABLE
    if not open_:
        message = "the canary lane has no version that may answer; leave x-coppice-lane away"
        raise errors.NotReady(message)
    return Choice("canary", 1.0)


def mirrors(table: routing.RoutingTable, request_id: str, *, secret: str) -> Mirrors:
    """Say who sees a copy of a request, independently of its lane.

    >>> table = routing.RoutingTable(model="m", champion="m:1", candidate="m:2", mirror=1.0)
    >>> mirrors(table, "r1", secret="s")
    Mirrors(pair=True, parent=False)
    """
    pair = table.candidate is not None and _drawn(table.mirror, secret, "mirror", request_id)
    parent = table.parent is not None and _drawn(table.parent_mirror, secret, "parent", request_id)
    return Mirrors(pair, parent) if pair or parent else NOWHERE


def _drawn(rate: float, secret: str, purpose: str, request_id: str) -> bool:
    # The hash is spared where the rate leaves nothing to draw.
    return rate >= 1.0 or (rate > 0.0 and labels.unit_interval(secret, purpose, request_id) < rate)


def key_hash(key: str, *, secret: str) -> str:
    """Return 128 bits that stand for a routing key in the log, in hex.

    >>> len(key_hash("ann", secret="s"))
    32
    """
    digest = _keyed(secret).copy()
    digest.update(key.encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)
def _keyed(secret: str) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, key=secret.encode()[:64])
