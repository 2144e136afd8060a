"""What the backends of a cluster share: the lead, waiting for a change, and the way out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from coppice.clock import SystemClock
from coppice.routing import RoutingTable
from deploy.backends import base
from deploy.backends.kube import connect as kube
from deploy.backends.kube import pods
from deploy.backends.kube.access import Access
from deploy.backends.kube.backend import ClusterBackend, WorkloadBackend
from deploy.backends.kube.client import Client, Object, Patience, Resource
from deploy.backends.kube.lease import Lease
from deploy.backends.kube.portal import Portal
from deploy.backends.kube.workload import Place, Workload, table_of
from tests.support import kube_server
from tests.support.kube_server import Cluster
from tests.support.kube_store import Key

DEPLOYMENTS = Resource("apps/v1", "deployments")
KEY = Key("apps/v1", "deployments", "default", "digits")
LEASE = Key("coordination.k8s.io/v1", "leases", "default", "coppice")
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "digits"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "digits"}},
        "template": {"metadata": {"labels": {"app": "digits"}}},
    },
}
ALONE = RoutingTable(generation=1, model="m", champion="m:a")
TRIAL = RoutingTable(generation=2, model="m", champion="m:a", candidate="m:b", weight=0.5)
LONG = 3600.0
"""Far longer than a test waits for a call that a change ends."""


class ToldBackend(WorkloadBackend):
    """For a tool that remembers what it was told."""

    def __init__(self, parts: kube.Parts, workload: Workload) -> None:
        super().__init__(parts, workload)
        self.told: list[tuple[str, str, int]] = []

    async def _observe(self) -> base.RouteState:
        return base.RouteState(table_of(await self._workload.read()))

    async def _named(self) -> base.RouteState:
        return base.RouteState(None, base.Tool("promoted", 1.0))

    async def _give_up(self, owner: Object, candidate: str, reason: str) -> None:
        table = table_of(owner)
        self.told.append((candidate, reason, 0 if table is None else table.generation))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running() as running:
        running.add(DEPLOYMENT)
        yield running


def parts(cluster: Cluster, identity: str) -> kube.Parts:
    patience = Patience(total=1.0, first_pause=0.005, longest_pause=0.02)
    client = Client(Access(cluster.url, "default"), patience)
    return kube.Parts(client, Lease(client, "coppice", identity, SystemClock()), Portal())


def watcher(cluster: Cluster, identity: str) -> ClusterBackend:
    made = parts(cluster, identity)
    return ClusterBackend(made, lambda: made.client.watch(DEPLOYMENTS, "digits"))


@pytest.fixture
def backend(cluster: Cluster) -> Iterator[ToldBackend]:
    made = parts(cluster, "me")
    opened = ToldBackend(made, Workload(made.client, Place(DEPLOYMENTS, "digits")))
    yield opened
    opened.close()


def test_who_asks_first_leads_and_gives_the_lease_back_at_the_end(cluster: Cluster) -> None:
    first, second = watcher(cluster, "first"), watcher(cluster, "second")

    assert (first.leads(), second.leads()) == (True, False)
    first.close()
    assert cluster.store.get(LEASE)["spec"]["holderIdentity"] == ""
    second.close()


def test_the_lease_of_another_is_not_given_back(cluster: Cluster) -> None:
    first, second = watcher(cluster, "first"), watcher(cluster, "second")
    first.leads()
    second.leads()

    second.close()

    assert cluster.store.get(LEASE)["spec"]["holderIdentity"] == "first"
    first.close()


def test_a_change_of_the_object_ends_a_wait(cluster: Cluster) -> None:
    backend = watcher(cluster, "me")
    backend.wait(LONG, SystemClock())
    cluster.store.update(KEY, lambda now: {**now, "spec": {**now["spec"], "replicas": 11}})

    assert kube_server.returns(lambda: backend.wait(LONG, SystemClock()))
    backend.close()


def test_close_ends_the_watch_and_the_loop(cluster: Cluster) -> None:
    made = parts(cluster, "me")
    ended: list[str] = []

    async def endless() -> AsyncIterator[Object | None]:
        try:
            yield None
            await asyncio.Event().wait()
        finally:
            ended.append("watch")

    backend = ClusterBackend(made, endless)
    backend.wait(LONG, SystemClock())
    assert ended == []
    backend.close()

    assert ended == ["watch"]
    assert "cluster-calls" not in {thread.name for thread in threading.enumerate()}


def test_a_table_is_written_into_the_workload_and_observed(
    backend: ToldBackend, cluster: Cluster
) -> None:
    assert backend.apply(ALONE)
    assert backend.observe().table == ALONE
    assert table_of(cluster.store.get(KEY)) == ALONE


def test_what_the_template_names_is_asked_apart(backend: ToldBackend) -> None:
    backend.apply(ALONE)
    assert backend.named() == base.RouteState(None, base.Tool("promoted", 1.0))


def test_an_abort_tells_the_tool_before_the_table_says_so(backend: ToldBackend) -> None:
    backend.apply(ALONE)
    backend.apply(TRIAL)

    observed = backend.abort("too slow").table

    # Told while the trial's generation, 2, was still the table's.
    assert backend.told == [("m:b", "too slow", 2)]
    assert observed == base.without_candidate(TRIAL)


@pytest.mark.parametrize("before", [[], [ALONE]])
def test_an_abort_without_a_candidate_tells_nobody_and_writes_nothing(
    backend: ToldBackend, cluster: Cluster, before: list[RoutingTable]
) -> None:
    list(map(backend.apply, before))
    version = cluster.store.get(KEY)["metadata"]["resourceVersion"]

    backend.abort("nothing to abort")

    assert backend.told == []
    assert cluster.store.get(KEY)["metadata"]["resourceVersion"] == version


def test_the_tool_moves_the_traffic_and_the_pods_mirror(backend: ToldBackend) -> None:
    assert backend.supports() == {"mirror", "outside"}


def test_a_pod_that_started_since_is_told_once(backend: ToldBackend, cluster: Cluster) -> None:
    backend.apply(ALONE)
    older = RoutingTable(generation=0, model="m", champion="m:a")
    cluster.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "late",
                "labels": {"app": "digits"},
                "annotations": {pods.ROUTING: pods.encode(older)},
            },
        }
    )
    assert (backend.tend(), backend.tend()) == (1, 0)
