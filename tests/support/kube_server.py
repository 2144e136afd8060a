"""A Kubernetes API server for tests, on loopback: the real client and the real Helm talk to it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import yaml

from deploy.backends.kube.client import Resource
from tests.support import kube_store
from tests.support.kube_store import KINDS, Key, Refused, Role, Store

_PATH = re.compile(
    r"^/(?:api|apis)/(?P<version>(?:[a-z0-9.]+\.[a-z0-9.]+/|apps/|batch/|autoscaling/|policy/)?v[0-9a-z]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$"
)
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Fault(NamedTuple):
    """What the next requests of a kind meet instead of an answer; code 0 cuts the connection."""

    code: int
    verb: str = ""
    retry_after: str = ""
    done_all_the_same: bool = False
    """Whether the write happens and only its answer is lost."""


class Cluster:
    """A store behind HTTP.

    Parameters
    ----------
    schemas
        Of custom resources; objects that break theirs are refused with 422.
    version
        What `/version` says.
    """

    def __init__(self, *, schemas: dict[str, Any] | None = None, version: str = "v1.34.2") -> None:
        self.store = Store(schemas=schemas)
        self.version = version
        self.absent: set[str] = set()
        """Group versions that this cluster does not serve."""
        self.requests: Counter[str] = Counter()
        """By verb and resource, `patch rollouts/status`."""
        self.asked: set[tuple[str, str, str]] = set()
        """Verbs, resources and names of all that was allowed; `*` where a request names nothing."""
        self.faults: list[Fault] = []
        self.roles: dict[str, Role] = {}
        """By token. With none, everything is allowed."""
        self.watches = 0
        self._cuts = 0
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.cut_watches()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, token: str = "", namespace: str = "default") -> str:
        """Return the text of a kubeconfig that leads here."""
        context = {"cluster": "test", "user": "test", "namespace": namespace}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": context}],
                "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                "users": [{"name": "test", "user": {"token": token} if token else {}}],
            }
        )

    def add(self, manifest: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
        """Create an object as the cluster's administrator."""
        return self.store.create(self.key(manifest, namespace), manifest)

    def key(self, manifest: dict[str, Any], namespace: str = "default") -> Key:
        plural = next(
            plural
            for (version, plural), kind in KINDS.items()
            if (version, kind) == (manifest["apiVersion"], manifest["kind"])
        )
        where = manifest["metadata"].get("namespace", namespace)
        return Key(manifest["apiVersion"], plural, where, manifest["metadata"]["name"])

    def fail(self, *faults: Fault) -> None:
        """Let the next matching requests fail, one fault each."""
        self.faults.extend(faults)

    def cut_watches(self) -> None:
        """End every watch that is open."""
        with self.store.changed:
            self._cuts += 1
            self.store.changed.notify_all()

    def forget_changes(self) -> None:
        """Let watches that begin at any version known so far expire."""
        self.store.forgotten = self.store.revision + 1

    def take_fault(self, verb: str) -> Fault | None:
        for fault in self.faults:
            if fault.verb in {"", verb}:
                self.faults.remove(fault)
                return fault
        return None

    def changes(self, version: str, plural: str, since: int) -> Iterator[dict[str, Any]]:
        """Yield watch events until the watch is cut."""
        cuts = self._cuts
        while True:
            with self.store.changed:
                if cuts != self._cuts:
                    return
                found = self.store.since(since, version, plural)
                if not found:
                    self.store.changed.wait(1.0)
                    continue
            for change in found:
                since = change.revision
                yield {"type": change.type, "object": change.object}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        super().__init__(("127.0.0.1", 0), _Handler)


class _Request(NamedTuple):
    verb: str
    key: Key
    subresource: str
    query: dict[str, str]
    body: bytes
    content_type: str

    def parsed(self) -> Any:
        return yaml.safe_load(self.body) if self.body else {}


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - base's name
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        try:
            if (
                self.command == "GET"
                and (page := discovery(self.server.cluster, url.path)) is not None
            ):
                self.answer(200, page)
                return
            request = self.read_request(url.path, dict(parse_qsl(url.query)), body)
            self.respond(request)
        except Refused as refused:
            self.answer(refused.code, refused.status())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - base's names

    def read_request(self, path: str, query: dict[str, str], body: bytes) -> _Request:
        found = _PATH.match(path)
        if found is None or (found["version"], found["plural"]) not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if found["version"] in self.server.cluster.absent:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        content = self.headers.get("content-type", "").partition(";")[0]
        key = Key(found["version"], found["plural"], found["namespace"] or "", found["name"] or "")
        verb = VERBS[self.command]
        if verb == "get" and not key.name:
            verb = "watch" if query.get("watch") in {"true", "1"} else "list"
        return _Request(verb, key, found["sub"] or "", query, body, content)

    def respond(self, request: _Request) -> None:
        self.authorize(request)
        resource = "/".join(filter(None, [request.key.plural, request.subresource]))
        self.server.cluster.requests[f"{request.verb} {resource}"] += 1
        self.server.cluster.asked.add((request.verb, resource, self.named(request).name or "*"))
        fault = self.server.cluster.take_fault(request.verb)
        if fault is not None and not fault.done_all_the_same:
            self.fail(fault)
            return
        if request.verb == "watch":
            self.stream(request)
            return
        result = perform(self.server.cluster, request)
        if fault is not None:
            self.fail(fault)
            return
        self.answer(201 if request.verb == "create" else 200, result)

    def authorize(self, request: _Request) -> None:
        if not self.server.cluster.roles:
            return
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.server.cluster.roles:
            raise Refused(401, "Unauthorized", "Unauthorized")
        key, named = request.key, self.named(request)
        if not self.server.cluster.roles[token].allows(request.verb, named, request.subresource):
            resource = "/".join(filter(None, [key.plural, request.subresource]))
            raise Refused(403, "Forbidden", f"cannot {request.verb} resource {resource!r}")

    def named(self, request: _Request) -> Key:
        """Return what a request is about; of a list the one it is narrowed to."""
        if request.verb not in {"watch", "list"}:
            return request.key
        selected = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        return request.key._replace(name=selected)

    def fail(self, fault: Fault) -> None:
        if fault.code == 0:
            self.close_connection = True
            self.connection.close()
            return
        self.answer(
            fault.code,
            Refused(fault.code, "Injected", "injected").status(),
            {"Retry-After": fault.retry_after} if fault.retry_after else {},
        )

    def stream(self, request: _Request) -> None:
        key = request.key
        selected = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        since = int(request.query.get("resourceVersion") or 0)
        if since == 0:
            since = self.server.cluster.store.revision
        self.server.cluster.store.since(since, key.version, key.plural)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.server.cluster.watches += 1
        with contextlib.suppress(OSError):
            for event in self.server.cluster.changes(key.version, key.plural, since):
                if selected in {"", event["object"]["metadata"]["name"]}:
                    self.chunk(json.dumps(event).encode() + b"\n")
            self.chunk(b"")

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def answer(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        with contextlib.suppress(OSError):
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)


def perform(cluster: Cluster, request: _Request) -> dict[str, Any]:
    """Carry out a request that is allowed."""
    store, key = cluster.store, request.key
    match request.verb:
        case "list":
            return _list(cluster, request)
        case "get":
            return store.get(key)
        case "create":
            body = request.parsed()
            named = key._replace(name=body["metadata"]["name"])
            made = store.create(named, body)
            store.own(named, body, request.query.get("fieldManager", "unknown"))
            return made
        case "update":
            body = request.parsed()
            made = store.update(key, lambda _: body, request.subresource)
            store.own(key, body, request.query.get("fieldManager", "unknown"))
            return made
        case "delete":
            return store.delete(key)
        case _:
            return _patch(cluster, request)


def _list(cluster: Cluster, request: _Request) -> dict[str, Any]:
    key = request.key
    wanted = dict(
        part.split("=", 1) for part in request.query.get("labelSelector", "").split(",") if part
    )
    items = [
        item
        for item in cluster.store.list(key.version, key.plural, key.namespace)
        if wanted.items() <= item["metadata"].get("labels", {}).items()
    ]
    return {
        "kind": KINDS[key.version, key.plural] + "List",
        "apiVersion": key.version,
        "metadata": {"resourceVersion": str(cluster.store.revision)},
        "items": items,
    }


def _patch(cluster: Cluster, request: _Request) -> dict[str, Any]:
    key, store = request.key, cluster.store
    patch = request.parsed()
    manager = request.query.get("fieldManager", "unknown")
    custom = "." in key.version.partition("/")[0] and not key.version.startswith(
        ("networking.k8s.io", "rbac.", "coordination.")
    )
    match request.content_type:
        case "application/apply-patch+yaml":
            force = request.query.get("force") == "true"
            return store.apply(key, patch, manager, force=force)
        case "application/strategic-merge-patch+json" if custom:
            raise Refused(415, "UnsupportedMediaType", "strategic merge patch: built-in kinds only")
        case "application/merge-patch+json" | "application/strategic-merge-patch+json":
            if not isinstance(patch, dict):
                raise Refused(400, "BadRequest", "a merge patch is an object")
            made = store.update(key, lambda now: kube_store.merged(now, patch), request.subresource)
            store.own(key, patch, manager)
            return made
        case other:
            raise Refused(415, "UnsupportedMediaType", f"{other!r} is no patch known here")


def discovery(cluster: Cluster, path: str) -> dict[str, Any] | None:
    """Return what the server says of itself, `None` for any other path."""
    versions = [
        version for version in dict.fromkeys(v for v, _ in KINDS) if version not in cluster.absent
    ]
    match path.rstrip("/"):
        case "/version":
            major, minor = cluster.version.removeprefix("v").split(".")[:2]
            return {"major": major, "minor": minor, "gitVersion": cluster.version}
        case "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        case "/apis":
            groups = [_group(version) for version in versions if "/" in version]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case "/openapi/v3":
            roots = {version: Resource(version, "").root for version in versions}
            pages = {
                root[1:]: {"serverRelativeURL": f"/openapi/v3{root}?hash={version}"}
                for version, root in roots.items()
            }
            return {"paths": pages}
    if path.startswith("/openapi/v3/"):
        return _openapi(re.sub(r"^/openapi/v3/apis?/", "", path.rstrip("/")))
    version = re.sub(r"^/apis?/", "", path.rstrip("/"))
    if version not in versions:
        return None
    resources = [
        {"name": plural, "kind": kind, "namespaced": True, "verbs": [*VERBS.values(), "watch"]}
        for (known, plural), kind in KINDS.items()
        if known == version
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": resources,
    }


def _openapi(version: str) -> dict[str, Any]:
    """Say that patches of a group's kinds can be validated: what Helm asks before it applies."""
    group, _, number = version.rpartition("/")
    validated = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {
        Resource(version, plural).path("{namespace}", "{name}"): {
            "patch": {
                "parameters": validated,
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": number,
                    "kind": kind,
                },
            }
        }
        for (known, plural), kind in KINDS.items()
        if known == version
    }
    return {"openapi": "3.0.0", "info": {"title": "test", "version": "1"}, "paths": paths}


def _group(version: str) -> dict[str, Any]:
    name, _, number = version.partition("/")
    named = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [named], "preferredVersion": named}


@contextlib.contextmanager
def running(**options: Any) -> Iterator[Cluster]:
    """Run a cluster for the length of a `with` block."""
    cluster = Cluster(**options)
    try:
        yield cluster
    finally:
        cluster.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds.

    Raises
    ------
    TimeoutError
        It did not.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it never came to hold")
        time.sleep(0.01)


def returns(call: Callable[[], object], within: float = 60.0) -> bool:
    """Say whether a call that may block comes back; a thread that does not is left behind."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(within)
    return not thread.is_alive()
