from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from coppice import errors
from deploy.backends.kube.access import Access
from deploy.backends.kube.client import Client, Patience, Resource
from tests.support import kube_server
from tests.support.kube_server import Cluster, Fault
from tests.support.kube_store import Key, Role

ROLLOUTS = Resource("argoproj.io/v1alpha1", "rollouts")
LEASES = Resource("coordination.k8s.io/v1", "leases")
PATIENCE = Patience(total=2.0, request=2.0, first_pause=0.005, longest_pause=0.02, watch=5.0)
ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "digits"},
    "spec": {"replicas": 2},
}
T = TypeVar("T")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running() as running:
        yield running


def ask(cluster: Cluster, question: Callable[[Client], Awaitable[T]], token: str = "t") -> T:
    async def conversation() -> T:
        client = Client(Access(cluster.url, "default", token=token), PATIENCE)
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(conversation())


def change(replicas: int, **metadata: str) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def test_an_object_is_read_as_it_is(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)

    found = ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))

    assert found["spec"] == {"replicas": 2}


def test_what_is_not_there_is_told_apart_from_what_cannot_be_read(cluster: Cluster) -> None:
    with pytest.raises(errors.NotInCluster, match='rollouts "digits" not found'):
        ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))


def test_a_patch_changes_what_it_names_and_nothing_else(cluster: Cluster) -> None:
    cluster.add({**ROLLOUT, "spec": {"replicas": 2, "paused": False}})

    after = ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", change(5)))

    assert after["spec"] == {"replicas": 5, "paused": False}


def test_a_patch_is_written_under_our_own_name(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)

    ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", change(5)))

    key = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")
    assert cluster.store.owner(key, "spec.replicas") == "coppice"


def test_a_patch_of_an_older_version_is_refused(cluster: Cluster) -> None:
    before = cluster.add(ROLLOUT)["metadata"]["resourceVersion"]
    ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", change(5)))

    with pytest.raises(errors.ClusterConflict, match="somebody else wrote it"):
        ask(cluster, lambda c: c.patch(ROLLOUTS, "digits", change(6, resourceVersion=before)))

    # Whoever planned on another state plans again at once; the same request would never be taken.
    assert cluster.requests["patch rollouts"] == 2


def test_the_status_is_changed_through_its_own_door_only(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)
    abort = {"status": {"abort": True}}

    plain = ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", abort))
    through = ask(
        cluster, lambda client: client.patch(ROLLOUTS, "digits", abort, subresource="status")
    )

    assert "status" not in plain
    assert through["status"] == {"abort": True}


def test_a_second_object_of_a_name_is_a_conflict(cluster: Cluster) -> None:
    lease = {"metadata": {"name": "coppice"}, "spec": {"holderIdentity": "a"}}
    ask(cluster, lambda client: client.create(LEASES, lease))

    with pytest.raises(errors.ClusterConflict, match="already exists"):
        ask(cluster, lambda client: client.create(LEASES, lease))


def test_a_replacement_of_what_has_changed_since_is_a_conflict(cluster: Cluster) -> None:
    lease = {"metadata": {"name": "coppice"}, "spec": {"holderIdentity": "a"}}
    made = ask(cluster, lambda client: client.create(LEASES, lease))
    mine = {**made, "spec": {"holderIdentity": "b"}}
    ask(cluster, lambda client: client.replace(LEASES, "coppice", mine))

    with pytest.raises(errors.ClusterConflict):
        ask(cluster, lambda client: client.replace(LEASES, "coppice", mine))


def test_objects_are_listed_by_their_labels(cluster: Cluster) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "x"}}}
    cluster.add(pod)
    cluster.add({**pod, "metadata": {"name": "b", "labels": {"app": "y"}}})

    found = ask(cluster, lambda client: client.list(Resource("v1", "pods"), selector="app=y"))

    assert [each["metadata"]["name"] for each in found] == ["b"]


def test_a_kind_that_is_not_installed_is_known_to_be_missing(cluster: Cluster) -> None:
    cluster.absent.add("argoproj.io/v1alpha1")

    assert not ask(cluster, lambda client: client.serves(ROLLOUTS))
    assert ask(cluster, lambda client: client.serves(LEASES))


@pytest.mark.parametrize("code", [429, 500, 503, 504, 0])
def test_a_server_that_is_busy_or_gone_for_a_moment_is_asked_again(
    cluster: Cluster, code: int
) -> None:
    cluster.add(ROLLOUT)
    cluster.fail(Fault(code), Fault(code))

    found = ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))

    assert found["spec"] == {"replicas": 2}
    assert cluster.requests["get rollouts"] == 3


@pytest.mark.parametrize("code", [400, 401, 403, 409, 410, 422])
def test_what_is_refused_is_not_asked_again(cluster: Cluster, code: int) -> None:
    cluster.add(ROLLOUT)
    cluster.fail(Fault(code))

    with pytest.raises(errors.CoppiceError):
        ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", change(5)))

    assert cluster.requests["patch rollouts"] == 1


def test_a_server_that_stays_broken_is_given_up(cluster: Cluster) -> None:
    cluster.fail(*[Fault(503)] * 1000)

    with pytest.raises(errors.ClusterProblem, match="the cluster refuses"):
        ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))


def test_the_pause_that_a_busy_server_asks_for_is_kept(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)
    # Longer than the patience of 2 s: asking again could not succeed.
    cluster.fail(Fault(429, retry_after="30"))

    with pytest.raises(errors.ClusterProblem, match="429"):
        ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))


def test_a_write_whose_answer_was_lost_is_not_made_twice(cluster: Cluster) -> None:
    version = cluster.add(ROLLOUT)["metadata"]["resourceVersion"]
    cluster.fail(Fault(503, verb="patch", done_all_the_same=True))

    with pytest.raises(errors.ClusterConflict):
        ask(cluster, lambda c: c.patch(ROLLOUTS, "digits", change(5, resourceVersion=version)))

    key = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")
    assert cluster.store.get(key)["spec"]["replicas"] == 5
    assert cluster.store.get(key)["metadata"]["generation"] == 2


def test_a_patch_that_was_begun_as_leader_is_not_tried_again_by_another(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)
    leads = iter([True, False])
    cluster.fail(Fault(503, verb="patch"))

    async def write() -> None:
        access = Access(cluster.url, "default", token="t")
        client = Client(access, PATIENCE, may_patch=lambda: next(leads))
        try:
            await client.patch(ROLLOUTS, "digits", change(5))
        finally:
            await client.close()

    with pytest.raises(errors.ClusterConflict, match="we lead no longer"):
        asyncio.run(write())

    assert cluster.requests["patch rollouts"] == 1
    assert cluster.store.get(cluster.key(ROLLOUT))["spec"]["replicas"] == 2


def test_a_proxy_for_the_rest_of_the_world_is_none_for_the_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add(ROLLOUT)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")

    assert ask(cluster, lambda client: client.get(ROLLOUTS, "digits"))["kind"] == "Rollout"


def test_a_stranger_is_told_to_renew_the_token(cluster: Cluster) -> None:
    cluster.roles["known"] = Role([])

    with pytest.raises(errors.ClusterProblem, match="renew the token"):
        ask(cluster, lambda client: client.get(ROLLOUTS, "digits"), token="unknown")


def test_a_verb_that_the_role_lacks_is_named(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)
    rule = {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["get"]}
    cluster.roles["t"] = Role([rule])

    with pytest.raises(errors.ClusterProblem, match="cannot patch resource 'rollouts'"):
        ask(cluster, lambda client: client.patch(ROLLOUTS, "digits", change(5)))


def test_a_server_that_is_not_there_is_named() -> None:
    async def conversation() -> None:
        client = Client(Access("http://127.0.0.1:1", "default"), PATIENCE._replace(total=0.05))
        try:
            await client.get(ROLLOUTS, "digits")
        finally:
            await client.close()

    with pytest.raises(errors.ClusterProblem, match=r"http://127\.0\.0\.1:1 does not answer"):
        asyncio.run(conversation())


async def first(client: Client, count: int, after: Callable[[int], object]) -> list[Any]:
    """Take so many states of the rollout from a watch; `after` runs beside it after each."""
    seen: list[Any] = []
    beside = []
    async for state in client.watch(ROLLOUTS, "digits"):
        seen.append(None if state is None else state["spec"]["replicas"])
        if len(seen) == count:
            break
        beside.append(asyncio.get_running_loop().run_in_executor(None, after, len(seen)))
    await asyncio.gather(*beside)
    return seen


def set_replicas(cluster: Cluster, replicas: int) -> None:
    key = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")
    cluster.store.update(key, lambda now: {**now, "spec": {"replicas": replicas}})


def test_a_watch_shows_the_object_now_and_whenever_it_changes(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)

    seen = ask(cluster, lambda c: first(c, 3, lambda count: set_replicas(cluster, 10 + count)))

    assert seen == [2, 11, 12]


def test_a_watch_shows_the_end_of_its_object(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)
    key = Key("argoproj.io/v1alpha1", "rollouts", "default", "digits")

    seen = ask(cluster, lambda c: first(c, 2, lambda _: cluster.store.delete(key) and None))

    assert seen == [2, None]


def test_a_watch_that_is_cut_goes_on(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)

    def cut_and_change(count: int) -> None:
        kube_server.wait_for(lambda: cluster.watches >= count)
        cluster.cut_watches()
        set_replicas(cluster, 10 + count)

    seen = ask(cluster, lambda c: first(c, 3, cut_and_change))

    # What changed while nobody listened is seen when the watch begins anew.
    assert seen == [2, 11, 12]


def test_a_watch_whose_version_is_forgotten_begins_anew(cluster: Cluster) -> None:
    cluster.add(ROLLOUT)

    async def conversation(client: Client) -> list[int]:
        states = client.watch(ROLLOUTS, "digits")
        before = await anext(states)
        set_replicas(cluster, 11)
        cluster.forget_changes()
        after = await anext(states)
        return [state["spec"]["replicas"] for state in (before, after) if state is not None]

    assert ask(cluster, conversation) == [2, 11]
    # The object was read at the beginning, and again after the 410.
    assert cluster.requests["get rollouts"] == 2


def line(told: str, /, **found: Any) -> str:
    return json.dumps({"type": told, "object": found})


FORGOTTEN = line("ERROR", kind="Status", code=410, message="too old resource version")
PAGES = (
    {"metadata": {"resourceVersion": "1"}},
    # A server tells in a stream that began well how far it is, and that it has forgotten.
    [line("BOOKMARK", metadata={"resourceVersion": "5"}), FORGOTTEN],
    {"metadata": {"resourceVersion": "7"}},
    [line("MODIFIED", metadata={"resourceVersion": "8"})],
)


def test_what_a_stream_tells_besides_changes_is_no_change() -> None:
    pages = iter(PAGES)

    def answer(_: httpx.Request) -> httpx.Response:
        page = next(pages)
        return httpx.Response(200, json=page) if isinstance(page, dict) else lines(page)

    async def versions() -> list[str]:
        client = Client(Access("http://cluster", "default"), PATIENCE)
        await client._http.aclose()
        client._http = httpx.AsyncClient(
            transport=httpx.MockTransport(answer), base_url="http://cluster"
        )
        states = client.watch(ROLLOUTS, "digits")
        found = [(await anext(states) or {})["metadata"]["resourceVersion"] for _ in range(3)]
        await states.aclose()  # type: ignore[attr-defined]
        await client.close()
        return found

    assert asyncio.run(versions()) == ["1", "7", "8"]


def lines(page: list[str]) -> httpx.Response:
    return httpx.Response(200, text="".join(f"{each}\n" for each in page))
