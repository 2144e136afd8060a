"""A controller, its stores and a cluster with one of the rollout tools, each scripted."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import pytest

from coppice import errors, records, routing, settings
from coppice.eventlog import base as eventlog_base
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from deploy import backends
from deploy.backends.base import Backend
from deploy.backends.kube import pods
from deploy.backends.kube.client import Client
from deploy.loop import Controller
from deploy.recorder import Recorder
from tests.support import artifacts, kube_server, kube_store, kubelet, rollouts
from tests.support.argo import Argo
from tests.support.flagger import Flagger
from tests.support.kube_server import Cluster
from tests.support.rollouts import MODEL

Kind: TypeAlias = Literal["argo", "flagger", "gateway"]
KINDS: tuple[Kind, ...] = ("argo", "flagger", "gateway")
READS = {"get", "list", "watch"}
STEPS = [{"setWeight": 10}, {"analysis": {"templates": []}}, {"setWeight": 50}]


def workload(version: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """Return an object with a pod template."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "server", "image": "coppice"}]},
    }
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": selector, "template": template, **copy.deepcopy(spec)},
    }


ANALYSIS = {"interval": "1m", "threshold": 3, "maxWeight": 20, "stepWeight": 20}
CANARY = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": MODEL},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": MODEL},
        "analysis": ANALYSIS,
    },
}
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": MODEL},
    "spec": {
        "rules": [
            {
                "backendRefs": [
                    {"name": MODEL, "port": 80, "weight": 1000},
                    {"name": f"{MODEL}-candidate", "port": 80, "weight": 0},
                ]
            }
        ]
    },
}
OBJECTS: Mapping[Kind, list[dict[str, Any]]] = {
    "argo": [
        workload("argoproj.io/v1alpha1", "Rollout", MODEL, strategy={"canary": {"steps": STEPS}})
    ],
    "flagger": [workload("apps/v1", "Deployment", MODEL), CANARY],
    "gateway": [
        workload("apps/v1", "Deployment", MODEL, replicas=2),
        workload("apps/v1", "Deployment", f"{MODEL}-candidate", replicas=0),
        ROUTE,
    ],
}


class Tool(Protocol):
    """Whoever acts in the cluster beside us."""

    def reconcile(self) -> object: ...


class Versions(NamedTuple):
    """Two versions of one model, and where a registry keeps them."""

    folder: Path
    first: str
    second: str


def versions(folder: Path) -> Versions:
    """Make the versions; a second's work, so share them."""
    place = folder / "registry"
    registry = MemoryRegistry(place)
    dense = artifacts.linear_classifier(folder / "dense", name=MODEL)
    registry.add(folder / "dense")
    tags = []
    for accepted in (0.9, 0.8):
        made = folder / str(accepted)
        artifacts.linear_classifier(made, name=MODEL, parent=dense, accepted=accepted)
        tags.append(registry.add(made))
    return Versions(place, *tags)


class Killed(BaseException):
    """Like kill -9, nobody catches it."""


@dataclasses.dataclass
class Stage:
    """Everything that a controller touches, and the tool that moves the traffic."""

    kind: Kind
    cluster: Cluster
    tool: Any
    log: MemoryLog
    registry: MemoryRegistry
    backend: Backend
    clock: ManualClock
    tree: settings.Settings
    versions: Path
    """Where the registry keeps them."""
    first: str
    second: str
    failures: int = 0
    """Turns that failed."""
    served_since: int = 0
    """Revision of the cluster when the first version served."""

    def keep(self) -> Callable[[], None]:
        """Remember the cluster and every store; return what puts them back, to live from there."""
        put_back, clock, failures = self.cluster.store.keep(), copy.copy(self.clock), self.failures
        events, aliases = self.log.read(eventlog_base.START, 10_000).events, self.aliases()

        def again() -> None:
            put_back()
            self.clock, self.failures = copy.copy(clock), failures
            self.log, self.registry = MemoryLog(), MemoryRegistry(self.versions)
            self.log.append(events)
            self.registry.point(MODEL, aliases)

        return again

    def aliases(self) -> dict[Any, str]:
        return dict(self.registry.aliases(MODEL))

    def controller(self) -> Controller:
        return Controller(
            self.log, self.registry, self.backend, self.tree, self.clock, Recorder(MODEL)
        )

    def tell(self, *found: records.Record) -> None:
        now = self.clock.now()
        self.log.append([records.seal(record, source="test", now=now) for record in found])

    def events(self) -> list[records.Rollout]:
        found = [records.unseal(event) for event in self.log.find(MODEL, records.Rollout)]
        return [record for record in found if isinstance(record, records.Rollout)]

    def state(self) -> records.Rollout:
        return self.events()[-1]

    def go_on(self, turns: int = 1) -> None:
        """Let a fresh controller and the tool take turns: nothing lives on but the stores."""
        for _ in range(turns):
            self.clock.advance(1.0)
            while not self.turn():
                pass
            self.tool.reconcile()

    def turn(self) -> bool:
        """Take a turn; false where the controller was killed at it, and another has to begin."""
        try:
            self.controller().turn()
        except Killed:
            return False
        except errors.CoppiceError:
            # As the controller's own loop does: the next look may do.
            self.failures += 1
        return True

    def settle(self) -> records.Rollout:
        """Take turns until nothing moves any more."""
        before = None
        while before != (now := self._marks()):
            before = now
            self.go_on()
        return self.state()

    def _marks(self) -> tuple[int, ...]:
        return self.cluster.store.revision, len(self.events()), self.failures

    def live_through(self, *news: records.Record) -> Stage:
        """Tell the news one by one, each once all is quiet."""
        for record in news:
            self.tell(record)
            self.settle()
        return self

    def verdict(self) -> str:
        """What our hooks answer from: the log alone."""
        states = self.events()
        if not states or states[-1].candidate is None:
            return "promote"
        event = self.log.latest(MODEL, records.Verdict)
        told = None if event is None else records.unseal(event)
        on_trial = isinstance(told, records.Verdict) and told.version == states[-1].candidate
        return told.kind if on_trial and isinstance(told, records.Verdict) else "undecided"

    def template(self) -> routing.RoutingTable:
        """What the pod template that we write says."""
        metadata = self.cluster.store.get(self._holder())["spec"]["template"]["metadata"]
        return pods.decode(metadata["annotations"][pods.ROUTING])

    def _holder(self) -> kube_store.Key:
        argo = self.kind == "argo"
        manifest = OBJECTS["argo"][0] if argo else workload("apps/v1", "Deployment", MODEL)
        return self.cluster.key(manifest)

    def commit(self, **table: Any) -> None:
        """Write a table into the pod template, as Git's tool does."""
        text = pods.encode(routing.RoutingTable(model=MODEL, **table))
        metadata = {"annotations": {pods.ROUTING: text}}
        change = {"spec": {"template": {"metadata": metadata}}}
        self.cluster.store.update(self._holder(), lambda now: kube_store.merged(now, change))
        self.settle()

    def start_pod(self, name: str) -> kube_store.Key:
        """Start one more pod of whatever serves, from its template."""
        holder = self._holder()
        if self.kind == "flagger":
            holder = holder._replace(name=f"{MODEL}-primary")
        template = self.cluster.store.get(holder)["spec"]["template"]["metadata"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**template, "name": name}}
        self.cluster.add(pod)
        return self.cluster.key(pod)

    def routes_by(self, pod: kube_store.Key) -> routing.RoutingTable:
        annotations = self.cluster.store.get(pod)["metadata"]["annotations"]
        return pods.decode(annotations[pods.ROUTING])

    def writes(self) -> dict[str, int]:
        """What was asked of the cluster that changes it, and how often."""
        asked = self.cluster.requests.items()
        return {what: count for what, count in asked if what.split()[0] not in READS}

    def answers(self) -> set[str]:
        """Every version that some pod answers with."""
        found = self.cluster.store.list("v1", "pods", "default")
        return {str(kubelet.answers(pod)) for pod in found}

    def told(self) -> set[str]:
        """Everything that some pod routes by."""
        found = self.cluster.store.list("v1", "pods", "default")
        return {pod["metadata"]["annotations"][pods.ROUTING] for pod in found}


def trial(stage: Stage) -> Stage:
    """Bring the second version on trial beside the first."""
    stage.live_through(rollouts.candidate(stage.first))
    stage.served_since = stage.cluster.store.revision
    return stage.live_through(rollouts.candidate(stage.second))


def verdict(stage: Stage, kind: str) -> records.Verdict:
    """Return what evidence says of the second version."""
    return rollouts.verdict(kind, stage.second, against=stage.first, slice="all")


@contextlib.contextmanager
def running(
    kind: Kind, found: Versions, folder: Path, *, validated: bool = True, **chosen: Any
) -> Iterator[Stage]:
    """Run a cluster with one of the tools; `chosen` are settings of `[cluster]`."""
    schemas = kube_store.crd_schemas() if validated else {}
    with kube_server.running(schemas=schemas) as cluster:
        for manifest in OBJECTS[kind]:
            cluster.add(manifest)
        folder.mkdir(exist_ok=True)
        (folder / "kube").write_text(cluster.kubeconfig())
        steps = {"steps": [0.5], "step_seconds": 0.0, "step_requests": 0, "watch_seconds": 1e6}
        tree = settings.from_tree(
            {
                "project": {"name": MODEL},
                "rollout": {"backend": kind, **steps},
                "cluster": {"kubeconfig": "kube", **chosen},
            },
            root=folder,
        )
        registry = MemoryRegistry(found.folder)
        backend = backends.open_backend(tree)
        stage = Stage(
            kind, cluster, None, MemoryLog(), registry, backend, ManualClock(), tree, *found
        )
        stage.tool = _tool(stage)
        stage.tool.reconcile()
        try:
            yield stage
        finally:
            backend.close()


def _tool(stage: Stage) -> Tool:
    match stage.kind:
        case "argo":
            return Argo(stage.cluster, MODEL, stage.verdict)
        case "flagger":
            goes_on: Callable[[], bool] = lambda: stage.verdict() == "promote"  # noqa: E731
            goes_back: Callable[[], bool] = lambda: stage.verdict() == "rollback"  # noqa: E731
            hooks = {
                "rollout": lambda: not goes_back(),
                "confirm-traffic-increase": goes_on,
                "confirm-promotion": goes_on,
                "rollback": goes_back,
            }
            return Flagger(stage.cluster, MODEL, hooks)
        case "gateway":
            return kubelet.Kubelet(stage.cluster)


@dataclasses.dataclass
class Fuse:
    """Blows before one of the writes, counted over the cluster and every store.

    After a write is before the next one: there are only reads between them.
    """

    blows_at: int = 0
    writes: int = 0

    def burn(self) -> None:
        self.writes += 1
        if self.writes == self.blows_at:
            raise Killed

    def lay(self, stage: Stage, patch: pytest.MonkeyPatch) -> None:
        """Let every write of the controller burn this fuse; a lease is no step of a rollout."""
        send, append, point = Client._send, stage.log.append, stage.registry.point

        async def fused(client: Client, method: str, path: str, *rest: Any) -> Any:
            if method != "GET" and "/leases" not in path:
                self.burn()
            return await send(client, method, path, *rest)

        def appended(events: Any) -> None:
            # What the test tells is no write of the controller's.
            if events[0].source != "test":
                self.burn()
            append(events)

        def pointed(*arguments: Any) -> None:
            self.burn()
            point(*arguments)

        patch.setattr(Client, "_send", fused)
        patch.setattr(stage.log, "append", appended)
        patch.setattr(stage.registry, "point", pointed)
