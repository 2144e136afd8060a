"""A small asynchronous client of the Kubernetes API: five verbs and a watch that resumes.

Writes are merge patches (RFC 7386) under our own field manager, or whole replacements that carry
the `resourceVersion` they were made from. What comes back as busy or broken (429, 5xx, a lost
connection) is tried again for a while, with growing pauses; a write that is tried again cannot be
applied twice, because it names the version that it changes.

References
----------
Kubernetes API Concepts, https://kubernetes.io/docs/reference/using-api/api-concepts/ (watches,
resource versions, 410 Gone); RFC 7386, JSON Merge Patch.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, TypeAlias

import httpx
import structlog

from coppice import errors
from deploy.backends.kube.access import Access

Object: TypeAlias = dict[str, Any]
"""A resource as the API gives it."""

FIELD_MANAGER = "coppice"
_MERGE_PATCH = "application/merge-patch+json"
_log = structlog.get_logger(__name__)


class Resource(NamedTuple):
    """A kind of namespaced resource.

    >>> Resource("apps/v1", "deployments").path("shop", "web")
    '/apis/apps/v1/namespaces/shop/deployments/web'
    >>> Resource("v1", "pods").path("shop")
    '/api/v1/namespaces/shop/pods'
    """

    version: str
    """Group and version, `apps/v1`; of the core group the version alone."""
    plural: str

    @property
    def root(self) -> str:
        """Path of the group and version."""
        return f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"

    def path(self, namespace: str, *rest: str) -> str:
        """Return the path of the collection, or of an object and its subresource in it."""
        return "/".join([f"{self.root}/namespaces/{namespace}/{self.plural}", *filter(None, rest)])


class Patience(NamedTuple):
    """How long a request is tried again, and how long one try may take; seconds."""

    total: float = 20.0
    request: float = 10.0
    first_pause: float = 0.1
    longest_pause: float = 2.0
    watch: float = 300.0
    """A watch that shows nothing for so long is begun anew."""


class Client:
    """Talk to one API server; use it on one event loop, and close it there.

    Parameters
    ----------
    access
        Where the server is and who we are.
    patience
        How long failures are borne.
    may_patch
        Asked right before every try of a patch: one that was begun by a leader must not come true
        once somebody else leads.
    """

    def __init__(
        self,
        access: Access,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        may_patch: Callable[[], bool] = lambda: True,
    ) -> None:
        self.namespace = access.namespace
        self._access = access
        self._patience = patience
        self._may_patch = may_patch
        self._http = httpx.AsyncClient(
            base_url=access.server,
            verify=access.trust if access.trust is not None else True,
            timeout=patience.request,
            headers={"accept": "application/json", "user-agent": FIELD_MANAGER},
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def serves(self, resource: Resource) -> bool:
        """Say whether the cluster knows a kind of resource."""
        try:
            known = await self._ask("GET", resource.root)
        except errors.NotInCluster:
            return False
        return any(entry["name"] == resource.plural for entry in known.get("resources", []))

    async def get(self, resource: Resource, name: str) -> Object:
        """Return an object.

        Raises
        ------
        NotInCluster
            There is none of that name.
        ClusterProblem
            The server refuses, or does not answer in time.
        """
        return await self._ask("GET", resource.path(self.namespace, name))

    async def list(self, resource: Resource, *, selector: str = "") -> list[Object]:
        """Return the objects whose labels match a selector, all without one."""
        path = resource.path(self.namespace)
        found = await self._ask("GET", path, query={"labelSelector": selector} if selector else {})
        items: list[Object] = found["items"]
        return items

    async def create(self, resource: Resource, body: Object) -> Object:
        """Make an object.

        Raises
        ------
        ClusterConflict
            There is one of that name.
        """
        path = resource.path(self.namespace)
        return await self._ask("POST", path, body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, resource: Resource, name: str, body: Object) -> Object:
        """Replace an object that has not changed since `body` was read.

        Raises
        ------
        ClusterConflict
            It has changed.
        """
        path = resource.path(self.namespace, name)
        return await self._ask("PUT", path, body, query={"fieldManager": FIELD_MANAGER})

    async def patch(
        self, resource: Resource, name: str, change: Object, *, subresource: str = ""
    ) -> Object:
        """Merge a change into an object, or into a part of it such as `status`.

        With `metadata.resourceVersion` in the change, only an object of that version is changed.

        Raises
        ------
        ClusterConflict
            It has another version, or we may not patch any more.
        NotInCluster
            There is none of that name.
        ClusterProblem
            The server refuses the change; the message says why.
        """
        path = resource.path(self.namespace, name, subresource)
        return await self._ask("PATCH", path, change, query={"fieldManager": FIELD_MANAGER})

    async def watch(self, resource: Resource, name: str) -> AsyncIterator[Object | None]:
        """Yield an object now and whenever it changes; `None` where there is none (any more).

        A watch that ends, or whose version the server has forgotten (410), goes on from the object
        as it is then: states in between may be missed, the latest one never is.

        Raises
        ------
        ClusterProblem
            The server refuses.
        """
        while True:
            try:
                current = await self.get(resource, name)
                since = current["metadata"]["resourceVersion"]
                yield current
            except errors.NotInCluster:
                since = ""
                yield None
            try:
                async for change in self._changes(resource, name, since):
                    yield change
            except (httpx.TransportError, errors.ClusterExpired) as cause:
                _log.info("watch_resumed", kind=resource.plural, name=name, reason=str(cause))
            await asyncio.sleep(_pause(self._patience, 0))

    async def _changes(
        self, resource: Resource, name: str, since: str
    ) -> AsyncIterator[Object | None]:
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": since,
        }
        timeout = httpx.Timeout(self._patience.request, read=self._patience.watch)
        request = self._http.build_request(
            "GET",
            resource.path(self.namespace),
            params=query,
            headers=self._access.headers(),
            timeout=timeout,
        )
        answer = await self._http.send(request, stream=True)
        try:
            if answer.status_code != httpx.codes.OK:
                await answer.aread()
                raise _problem(answer)
            async for line in answer.aiter_lines():
                change = json.loads(line)
                if change["type"] == "ERROR":
                    raise _told(change["object"], int(change["object"].get("code", 500)))
                if change["type"] != "BOOKMARK":
                    yield None if change["type"] == "DELETED" else change["object"]
        finally:
            await answer.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        query: dict[str, str] | None = None,
    ) -> Object:
        until = time.monotonic() + self._patience.total
        tries = 0
        while True:
            try:
                answer = await self._send(method, path, body, query)
                if answer.is_success:
                    found: Object = answer.json()
                    return found
                problem = _problem(answer)
                wait = _wait(answer)
            except httpx.TransportError as cause:
                problem = errors.ClusterProblem(
                    f"{self._access.server} does not answer ({cause!r}); is the cluster up?"
                )
                wait = 0.0
            if wait is None:
                raise problem
            wait = max(wait, _pause(self._patience, tries))
            if time.monotonic() + wait > until:
                raise problem
            tries += 1
            await asyncio.sleep(wait)

    async def _send(
        self, method: str, path: str, body: Object | None, query: dict[str, str] | None
    ) -> httpx.Response:
        if method == "PATCH" and not self._may_patch():
            message = f"we lead no longer, so {path} is left to whoever does; plan again"
            raise errors.ClusterConflict(message)
        headers = self._access.headers()
        if body is not None:
            headers["content-type"] = _MERGE_PATCH if method == "PATCH" else "application/json"
        content = None if body is None else json.dumps(body)
        return await self._http.request(
            method, path, content=content, params=query, headers=headers
        )


def _pause(patience: Patience, tries: int) -> float:
    """Return a pause that grows, and differs between clients that failed together."""
    longest = min(patience.first_pause * 2.0 ** min(tries, 16), patience.longest_pause)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


def _wait(answer: httpx.Response) -> float | None:
    """Say how long to wait before the same request may succeed; `None` where it never will."""
    if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and not answer.is_server_error:
        return None
    after = answer.headers.get("retry-after", "")
    return float(after) if after.isdigit() else 0.0


def _problem(answer: httpx.Response) -> errors.CoppiceError:
    try:
        status = answer.json()
    except ValueError:
        status = {"message": answer.text[:500]}
    return _told(status, answer.status_code)


def _told(status: Object, code: int) -> errors.CoppiceError:
    """Turn a `Status` object into the error that says what to do."""
    said = str(status.get("message", "")) or f"HTTP {code}"
    match code:
        case 401:
            return errors.ClusterProblem(f"the cluster does not know us: {said}; renew the token")
        case 403:
            return errors.ClusterProblem(f"{said}; the Role of our service account lacks that verb")
        case 404:
            return errors.NotInCluster(f"not in the cluster: {said}")
        case 409:
            return errors.ClusterConflict(f"somebody else wrote it in between: {said}")
        case 410:
            return errors.ClusterExpired(said)
        case _:
            return errors.ClusterProblem(f"the cluster refuses ({code}): {said}")
