from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from coppice.testing import ManualClock
from deploy.backends.kube.access import Access
from deploy.backends.kube.client import Client, Object, Patience, Resource
from deploy.backends.kube.lease import Lease, Terms
from deploy.backends.kube.portal import Portal
from tests.support import kube_server
from tests.support.kube_server import Cluster, Fault
from tests.support.kube_store import Key

KEY = Key("coordination.k8s.io/v1", "leases", "default", "coppice")
TERMS = Terms(duration=15.0, renew_within=10.0, renew_every=2.0)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running() as running:
        yield running


class Together:
    """Two controllers that watch one clock and one lease."""

    def __init__(self, cluster: Cluster) -> None:
        self.clock = ManualClock()
        self.portal = Portal()
        patience = Patience(total=0.05, first_pause=0.005, longest_pause=0.01)
        self.client = Client(Access(cluster.url, "default"), patience)
        self.first, self.second = (
            Lease(self.client, "coppice", name, self.clock, TERMS) for name in ("one", "two")
        )

    def call(self, work: Awaitable[Any]) -> Any:
        return self.portal.call(work)  # type: ignore[arg-type]

    def after(self, seconds: float, lease: Lease) -> bool:
        self.clock.advance(seconds)
        return bool(self.call(lease.hold()))

    def close(self) -> None:
        self.call(self.client.close())
        self.portal.close()


@pytest.fixture
def both(cluster: Cluster) -> Iterator[Together]:
    together = Together(cluster)
    yield together
    together.close()


def spec(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.store.get(KEY)["spec"]
    return found


def test_the_first_to_ask_leads_and_the_second_waits(both: Together) -> None:
    assert both.after(0.0, both.first)
    assert not both.after(0.0, both.second)


def test_nobody_leads_who_never_asked(both: Together) -> None:
    assert not both.first.leads


def test_a_leader_that_renews_goes_on_for_ever(both: Together, cluster: Cluster) -> None:
    both.after(0.0, both.first)
    both.after(9.0, both.first)
    both.after(9.0, both.first)

    assert both.first.leads
    assert not both.after(0.0, both.second)
    assert spec(cluster)["leaseTransitions"] == 1


def test_the_record_says_who_leads_and_since_when(both: Together, cluster: Cluster) -> None:
    both.after(0.0, both.first)
    both.after(5.0, both.first)

    found = spec(cluster)
    assert found["holderIdentity"] == "one"
    assert found["leaseDurationSeconds"] == 15
    times = [
        dt.datetime.fromisoformat(found[name]).timestamp() for name in ("acquireTime", "renewTime")
    ]
    assert times == [1_700_000_000.0, 1_700_000_005.0]


def test_a_leader_that_cannot_renew_stops_before_another_can_take_over(
    both: Together, cluster: Cluster
) -> None:
    both.after(0.0, both.first)
    both.after(0.0, both.second)
    cluster.fail(*[Fault(503)] * 1000)
    # The first stops at 10 s, the second may take over at 15 s.
    assert not both.after(10.0, both.first)
    cluster.faults.clear()
    assert not both.after(4.9, both.second)
    assert both.after(2.1, both.second)


class Slow(Client):
    """A client whose every question takes a while; something may happen before it is answered."""

    def __init__(self, both: Together, seconds: float, meanwhile: Lease | None = None) -> None:
        super().__init__(both.client._access)
        self._both, self._seconds, self._meanwhile = both, seconds, meanwhile

    async def get(self, resource: Resource, name: str) -> Object:
        self._both.clock.advance(self._seconds)
        if self._meanwhile is not None:
            await self._meanwhile.hold()
        return await super().get(resource, name)


def test_a_renewal_counts_from_when_it_was_asked_for(both: Together) -> None:
    slow = Slow(both, 9.0)
    lease = Lease(slow, "coppice", "slow", both.clock, TERMS)
    both.call(lease.hold())
    at_once = lease.leads
    both.clock.advance(1.0)
    both.call(slow.close())

    # Asked for at 0 s and answered at 9 s: others count from the write, which was in between.
    assert (at_once, lease.leads) == (True, False)


def test_a_record_is_counted_from_when_it_was_seen_and_not_from_the_question(
    both: Together, cluster: Cluster
) -> None:
    both.after(0.0, both.first)
    # Asked for at 0 s; before the answer at 9 s the first renews, and so may lead until 19 s.
    slow = Slow(both, 9.0, meanwhile=both.first)
    lease = Lease(slow, "coppice", "slow", both.clock, TERMS)
    both.call(lease.hold())
    slow._seconds, slow._meanwhile = 0.0, None
    taken = [both.after(seconds, lease) for seconds in (6.1, 3.8, 5.1)]
    both.call(slow.close())

    # At 15.1 s and at 18.9 s the first may lead yet, at 24 s it has stopped for long.
    assert taken == [False, False, True]
    assert spec(cluster)["holderIdentity"] == "slow"


def test_a_lead_is_lost_by_who_had_it_and_until_it_is_won_again(
    both: Together, cluster: Cluster
) -> None:
    assert not both.first.lost
    both.call(both.first.hold())
    cluster.fail(*[Fault(503)] * 40)
    both.after(10.0, both.first)
    lost = both.first.lost
    cluster.faults.clear()
    both.after(2.0, both.first)

    # Not renewed for 10 s: lost; a record that nobody else took is renewed again.
    assert (lost, both.first.lost, both.second.lost) == (True, False, False)


def test_a_record_that_changed_is_counted_from_its_change(both: Together) -> None:
    both.after(0.0, both.first)
    both.after(0.0, both.second)
    both.after(8.0, both.first)
    both.after(0.0, both.second)

    # 15 s after the first record, but only 7 s after the second.
    assert not both.after(7.0, both.second)
    assert both.after(8.0, both.second)


def test_of_two_that_take_over_at_once_one_leads(both: Together, cluster: Cluster) -> None:
    both.after(0.0, both.first)
    third = Lease(both.client, "coppice", "three", both.clock, TERMS)
    both.after(0.0, both.second)
    both.after(0.0, third)
    both.clock.advance(15.0)
    # Both read the old record; the answer to the first write comes before the second write.
    cluster.fail(Fault(503, verb="update", done_all_the_same=True))

    leaders = [both.call(both.second.hold()), both.call(third.hold())]

    # The second's write was made but its answer lost, so it does not know that it leads yet.
    assert leaders == [False, False]
    assert spec(cluster)["holderIdentity"] == "two"
    assert both.after(2.0, both.second)
    assert not both.call(third.hold())


def test_a_lease_that_is_given_back_is_free_at_once(both: Together, cluster: Cluster) -> None:
    both.after(0.0, both.first)
    both.call(both.first.release())

    assert not both.first.leads
    assert spec(cluster)["holderIdentity"] == ""
    assert both.after(0.0, both.second)


def test_who_does_not_lead_gives_nothing_back(both: Together, cluster: Cluster) -> None:
    both.after(0.0, both.first)
    both.after(0.0, both.second)

    both.call(both.second.release())

    assert spec(cluster)["holderIdentity"] == "one"


def test_the_record_is_not_asked_for_more_often_than_needed(
    both: Together, cluster: Cluster
) -> None:
    both.after(0.0, both.first)
    both.after(0.5, both.first)
    both.after(0.5, both.first)

    assert cluster.requests["get leases"] == 1


def test_a_holder_that_asked_for_a_longer_lease_keeps_it(both: Together, cluster: Cluster) -> None:
    patient = Lease(both.client, "coppice", "p", both.clock, TERMS._replace(duration=60.0))
    both.call(patient.hold())
    both.after(0.0, both.second)

    assert not both.after(59.0, both.second)
    assert both.after(2.0, both.second)
