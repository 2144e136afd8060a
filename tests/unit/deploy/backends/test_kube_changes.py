"""A watch tells that its object changed; whatever ends a watch, waiting goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog

from deploy.backends.kube.access import Access
from deploy.backends.kube.changes import Changes
from deploy.backends.kube.client import Client, Patience, Resource
from deploy.backends.kube.portal import Portal
from tests.support import kube_server
from tests.support.kube_server import Cluster, Fault
from tests.support.kube_store import Key, Role

ROLLOUTS = Resource("argoproj.io/v1alpha1", "rollouts")
KEY = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")
ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "digits"},
    "spec": {"replicas": 2},
}
LONG = 3600.0
"""Far longer than a test waits for a call that a change ends."""
MAY_GET = {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["get"]}
MAY_WATCH = {**MAY_GET, "verbs": ["get", "watch"]}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running() as running:
        running.add(ROLLOUT)
        yield running


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal()
    yield made
    made.close()


@pytest.fixture
def changes(cluster: Cluster, portal: Portal) -> Iterator[Changes]:
    patience = Patience(total=2.0, request=2.0, first_pause=0.005, longest_pause=0.02)
    client = Client(Access(cluster.url, "default", token="t"), patience)
    made = Changes(portal, lambda: client.watch(ROLLOUTS, "digits"), again_seconds=0.02)
    yield made
    made.close()
    portal.call(client.close())


@pytest.fixture
def watching(changes: Changes, cluster: Cluster) -> Changes:
    """A watch that has shown what was there when it began."""
    changes.wait(LONG)
    kube_server.wait_for(lambda: cluster.watches == 1)
    return changes


def scale(cluster: Cluster, replicas: int) -> None:
    cluster.store.update(KEY, lambda now: {**now, "spec": {"replicas": replicas}})


def tasks(portal: Portal) -> int:
    """How many tasks the portal's loop has, but for the one that counts."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return portal.call(count())


def test_what_is_there_when_the_watch_begins_ends_the_first_wait(changes: Changes) -> None:
    # It may have changed since it was read last.
    assert kube_server.returns(lambda: changes.wait(LONG))


def test_a_change_ends_a_wait(watching: Changes, cluster: Cluster) -> None:
    scale(cluster, 11)
    assert kube_server.returns(lambda: watching.wait(LONG))


def test_a_change_between_two_waits_ends_the_second(watching: Changes, cluster: Cluster) -> None:
    scale(cluster, 11)
    watching.wait(LONG)
    scale(cluster, 12)
    assert kube_server.returns(lambda: watching.wait(LONG))


def test_the_end_of_the_object_ends_a_wait(watching: Changes, cluster: Cluster) -> None:
    cluster.store.delete(KEY)
    assert kube_server.returns(lambda: watching.wait(LONG))


def test_without_a_change_a_wait_ends_after_its_time(watching: Changes) -> None:
    assert kube_server.returns(lambda: watching.wait(0.05))


def test_a_change_while_the_watch_is_cut_ends_a_wait(watching: Changes, cluster: Cluster) -> None:
    cluster.cut_watches()
    scale(cluster, 11)
    assert kube_server.returns(lambda: watching.wait(LONG))


def test_a_watch_that_begins_anew_without_a_change_ends_no_wait(
    watching: Changes, cluster: Cluster
) -> None:
    cluster.cut_watches()
    kube_server.wait_for(lambda: cluster.watches == 2)
    assert not kube_server.returns(lambda: watching.wait(LONG), within=0.3)
    scale(cluster, 11)


def test_a_watch_whose_versions_are_forgotten_goes_on(watching: Changes, cluster: Cluster) -> None:
    cluster.forget_changes()
    cluster.cut_watches()
    # Each that begins at the version of now is told 410.
    kube_server.wait_for(lambda: cluster.requests["watch rollouts"] >= 3)
    scale(cluster, 11)
    assert kube_server.returns(lambda: watching.wait(LONG))


def test_a_watch_that_a_busy_server_refuses_is_tried_again(
    changes: Changes, cluster: Cluster
) -> None:
    cluster.fail(Fault(503, verb="watch"), Fault(429, verb="watch"))
    changes.wait(LONG)
    kube_server.wait_for(lambda: cluster.watches == 1)
    scale(cluster, 11)
    assert kube_server.returns(lambda: changes.wait(LONG))


def test_a_watch_that_the_role_does_not_allow_is_logged_once_and_waiting_goes_on(
    changes: Changes, cluster: Cluster
) -> None:
    cluster.roles["t"] = Role([MAY_GET])
    with structlog.testing.capture_logs() as logged:
        changes.wait(LONG)
        # Each try reads the object before it watches: the first two were refused.
        kube_server.wait_for(lambda: cluster.requests["get rollouts"] >= 3)

    assert kube_server.returns(lambda: changes.wait(0.05))
    (line,) = [line for line in logged if line["event"] == "watch_failed"]
    assert "cannot watch resource 'rollouts'" in line["reason"]


def test_a_role_that_allows_the_watch_later_is_enough(changes: Changes, cluster: Cluster) -> None:
    cluster.roles["t"] = Role([MAY_GET])
    changes.wait(LONG)
    cluster.roles["t"] = Role([MAY_WATCH])
    kube_server.wait_for(lambda: cluster.watches == 1)
    changes.wait(0.05)
    scale(cluster, 11)
    assert kube_server.returns(lambda: changes.wait(LONG))


def test_no_watch_begins_before_the_first_wait(changes: Changes, portal: Portal) -> None:
    assert tasks(portal) == 0
    changes.wait(LONG)
    assert tasks(portal) == 1


def test_close_ends_the_watch(watching: Changes, portal: Portal) -> None:
    watching.close()
    assert tasks(portal) == 0
    watching.close()
