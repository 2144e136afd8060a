"""One of several controllers leads: whoever holds the lease moves the routes, the others wait.

The rule is the one that Kubernetes' own components follow: a lease whose record has not changed for
its whole duration, by the clock of whoever watches it, may be taken over; clocks of different
machines are never compared. A leader that could not renew in time stops leading before anybody can
take over, so two never lead at once as long as their clocks run at about the same speed.

References
----------
Kubernetes, Leases, https://kubernetes.io/docs/concepts/architecture/leases/; the `leaderelection`
package of client-go, whose assumptions these are.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import structlog

from coppice import clock as clocks
from coppice import errors
from deploy.backends.kube.client import Client, Object, Resource

LEASES = Resource("coordination.k8s.io/v1", "leases")

_log = structlog.get_logger(__name__)


class Terms(NamedTuple):
    """How long a lease lasts; seconds."""

    duration: float = 15.0
    """A record that has not changed for so long is given up by its holder."""
    renew_within: float = 10.0
    """A holder that could not renew for so long stops leading; less than `duration`."""
    renew_every: float = 2.0
    """Least time between two looks at the record."""


class Seen(NamedTuple):
    """A record of the lease, and when it was first seen like that; monotonic seconds."""

    record: Object
    since: float


class Lease:
    """Hold a lease, or watch who does.

    Parameters
    ----------
    client
        How the cluster is reached.
    name
        The lease's name.
    identity
        Who we are: another one for each process.
    clock
        Where the time comes from.
    terms
        How long it lasts.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        clock: clocks.Clock,
        terms: Terms = Terms(),  # noqa: B008 - frozen
    ) -> None:
        self._client = client
        self._name = name
        self._identity = identity
        self._clock = clock
        self._terms = terms
        self._seen: Seen | None = None
        self._renewed: float | None = None
        self._looked: float | None = None

    @property
    def leads(self) -> bool:
        """Whether we lead at this moment."""
        renewed = self._renewed
        return renewed is not None and self._clock.monotonic() - renewed < self._terms.renew_within

    @property
    def lost(self) -> bool:
        """Whether we led once and do not any more: whatever was begun as leader has to stop."""
        return self._renewed is not None and not self.leads

    async def hold(self) -> bool:
        """Take the lease where it is free, renew it where it is ours; return whether we lead."""
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked < self._terms.renew_every:
            return self.leads
        self._looked = now
        try:
            await self._try(now)
        except errors.ClusterConflict:
            _log.info("lease_taken_by_another", lease=self._name)
        except errors.ClusterProblem as cause:
            _log.warning("lease_not_renewed", lease=self._name, reason=str(cause))
        return self.leads

    async def release(self) -> None:
        """Let another one lead at once, where we hold the lease."""
        if not self.leads or self._seen is None:
            return
        self._renewed = None
        given_up = self._record(self._seen.record, holder="")
        try:
            await self._client.replace(LEASES, self._name, given_up)
        except (errors.ClusterConflict, errors.ClusterProblem) as cause:
            _log.info("lease_not_released", lease=self._name, reason=str(cause))

    async def _try(self, now: float) -> None:
        try:
            found = await self._client.get(LEASES, self._name)
        except errors.NotInCluster:
            fresh = self._record({"metadata": {"name": self._name}}, holder=self._identity)
            self._won(await self._client.create(LEASES, fresh), now)
            return
        if self._seen is None or _version(self._seen.record) != _version(found):
            # From when it was seen, not from when we asked: it may have been renewed in between.
            self._seen = Seen(found, self._clock.monotonic())
        if may_take(self._seen, self._identity, now, self._terms):
            mine = self._record(found, holder=self._identity)
            self._won(await self._client.replace(LEASES, self._name, mine), now)

    def _won(self, record: Object, asked: float) -> None:
        if not self.leads:
            _log.info("lease_won", lease=self._name, identity=self._identity)
        self._seen = Seen(record, asked)
        # From when we asked, not from when the answer came: others count from the write.
        self._renewed = asked

    def _record(self, before: Object, *, holder: str) -> Object:
        spec = before.get("spec", {})
        now = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        changed = holder != spec.get("holderIdentity", "")
        return {
            **before,
            "spec": {
                **spec,
                "holderIdentity": holder,
                "leaseDurationSeconds": max(1, round(self._terms.duration)),
                "renewTime": stamp,
                "acquireTime": stamp if changed else spec.get("acquireTime", stamp),
                "leaseTransitions": spec.get("leaseTransitions", 0) + changed,
            },
        }


def may_take(seen: Seen, identity: str, now: float, terms: Terms) -> bool:
    """Say whether a lease is ours, free, or given up by its holder.

    >>> theirs = Seen({"spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}}, since=100.0)
    >>> may_take(theirs, "a", 114.9, Terms()), may_take(theirs, "a", 115.0, Terms())
    (False, True)
    """
    spec = seen.record.get("spec", {})
    holder = spec.get("holderIdentity", "")
    if holder in {"", identity}:
        return True
    # The holder's own terms count: ours may be shorter after a change of settings.
    duration = max(float(spec.get("leaseDurationSeconds", 0)), terms.duration)
    return now - seen.since >= duration


def _version(record: Object) -> object:
    return record["metadata"].get("resourceVersion")
