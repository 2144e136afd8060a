"""What a Kubernetes API server keeps and enforces, for tests: objects, versions, roles, schemas.

It follows the API conventions where the backends depend on them: a resource version for every
write, optimistic concurrency, `status` as a subresource, closed schemas, roles, watches that
expire. What it cannot show: admission, defaulting, CEL rules, garbage collection, controllers.
"""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SCHEMAS = Path(__file__).resolve().parents[3] / "shared" / "data" / "crd-schemas.json"

KINDS = {
    ("v1", "pods"): "Pod",
    ("v1", "services"): "Service",
    ("v1", "configmaps"): "ConfigMap",
    ("v1", "secrets"): "Secret",
    ("v1", "serviceaccounts"): "ServiceAccount",
    ("v1", "persistentvolumeclaims"): "PersistentVolumeClaim",
    ("v1", "events"): "Event",
    ("apps/v1", "deployments"): "Deployment",
    ("apps/v1", "statefulsets"): "StatefulSet",
    ("apps/v1", "replicasets"): "ReplicaSet",
    ("batch/v1", "jobs"): "Job",
    ("batch/v1", "cronjobs"): "CronJob",
    ("autoscaling/v2", "horizontalpodautoscalers"): "HorizontalPodAutoscaler",
    ("policy/v1", "poddisruptionbudgets"): "PodDisruptionBudget",
    ("networking.k8s.io/v1", "networkpolicies"): "NetworkPolicy",
    ("networking.k8s.io/v1", "ingresses"): "Ingress",
    ("rbac.authorization.k8s.io/v1", "roles"): "Role",
    ("rbac.authorization.k8s.io/v1", "rolebindings"): "RoleBinding",
    ("coordination.k8s.io/v1", "leases"): "Lease",
    ("argoproj.io/v1alpha1", "rollouts"): "Rollout",
    ("argoproj.io/v1alpha1", "analysistemplates"): "AnalysisTemplate",
    ("argoproj.io/v1alpha1", "analysisruns"): "AnalysisRun",
    ("flagger.app/v1beta1", "canaries"): "Canary",
    ("flagger.app/v1beta1", "metrictemplates"): "MetricTemplate",
    ("flagger.app/v1beta1", "alertproviders"): "AlertProvider",
    ("gateway.networking.k8s.io/v1", "httproutes"): "HTTPRoute",
    ("monitoring.coreos.com/v1", "prometheusrules"): "PrometheusRule",
    ("monitoring.coreos.com/v1", "servicemonitors"): "ServiceMonitor",
    ("keda.sh/v1alpha1", "scaledobjects"): "ScaledObject",
}
"""Every kind that the server knows, by group version and plural."""

WITH_STATUS = {
    "Pod", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Rollout", "AnalysisRun",
    "Canary", "HTTPRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ScaledObject",
}  # fmt: skip
"""Kinds whose `status` can only be written through its subresource."""


ATOMIC = frozenset({"spec.selector"})
"""Tables that have one owner as a whole."""


class Refused(Exception):
    """A request that the API server answers with an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason

    def status(self) -> dict[str, Any]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


class Key(NamedTuple):
    version: str
    plural: str
    namespace: str
    name: str


class Change(NamedTuple):
    revision: int
    type: str
    key: Key
    object: dict[str, Any]


class Role(NamedTuple):
    """What one token may do: the `rules` of a Role."""

    rules: list[dict[str, Any]]

    def allows(self, verb: str, key: Key, subresource: str) -> bool:
        group = key.version.rpartition("/")[0]
        resource = f"{key.plural}/{subresource}" if subresource else key.plural
        return any(
            {verb, "*"} & set(rule["verbs"])
            and {group, "*"} & set(rule["apiGroups"])
            and {resource, "*"} & set(rule["resources"])
            # A list or a create has no name to be restricted to.
            and (not rule.get("resourceNames") or key.name in rule["resourceNames"])
            for rule in self.rules
        )


class Store:
    """Objects of one cluster; every method may be called from any thread."""

    def __init__(self, *, schemas: dict[str, Any] | None = None) -> None:
        self.changed = threading.Condition()
        self.forgotten = 0
        """Watches that begin at or before this revision have expired."""
        self._objects: dict[Key, dict[str, Any]] = {}
        self._owners: dict[Key, dict[str, str]] = {}
        self._changes: list[Change] = []
        self._revision = 100
        self._schemas = schemas if schemas is not None else {}

    @property
    def revision(self) -> int:
        return self._revision

    def keep(self) -> Callable[[], None]:
        """Remember everything as it is now; return what puts it back, as often as it is called."""
        with self.changed:
            # Objects are never changed in place, and neither are changes.
            objects, changes = dict(self._objects), list(self._changes)
            owners, revision = copy.deepcopy(self._owners), self._revision

        def put_back() -> None:
            with self.changed:
                self._objects, self._changes = dict(objects), list(changes)
                self._owners, self._revision = copy.deepcopy(owners), revision
                self.changed.notify_all()

        return put_back

    def get(self, key: Key) -> dict[str, Any]:
        with self.changed:
            if key not in self._objects:
                raise Refused(404, "NotFound", f'{key.plural} "{key.name}" not found')
            return copy.deepcopy(self._objects[key])

    def has(self, key: Key) -> bool:
        with self.changed:
            return key in self._objects

    def list(self, version: str, plural: str, namespace: str) -> list[dict[str, Any]]:
        with self.changed:
            return [
                copy.deepcopy(found)
                for key, found in self._objects.items()
                if (key.version, key.plural) == (version, plural)
                and namespace in {"", key.namespace}
            ]

    def create(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        with self.changed:
            if key in self._objects:
                raise Refused(409, "AlreadyExists", f'{key.plural} "{key.name}" already exists')
            made = copy.deepcopy(body)
            kind = KINDS[key.version, key.plural]
            made["apiVersion"], made["kind"] = key.version, kind
            made["metadata"] = {
                **made.get("metadata", {}),
                "name": key.name,
                "namespace": key.namespace,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            if kind in WITH_STATUS:
                made.pop("status", None)
            return self._write("ADDED", key, made)

    def update(
        self, key: Key, change: Callable[[dict[str, Any]], dict[str, Any]], subresource: str = ""
    ) -> dict[str, Any]:
        """Replace an object by what `change` makes of a copy of it."""
        with self.changed:
            before = self.get(key)
            after = change(copy.deepcopy(before))
            asked = after.get("metadata", {}).get("resourceVersion")
            if asked and asked != before["metadata"]["resourceVersion"]:
                message = (
                    f'Operation cannot be fulfilled on {key.plural} "{key.name}": the object has '
                    "been modified; please apply your changes to the latest version and try again"
                )
                raise Refused(409, "Conflict", message)
            after = _confined(before, after, subresource)
            if after == before:
                return before
            if after.get("spec") != before.get("spec"):
                after["metadata"]["generation"] = before["metadata"]["generation"] + 1
            return self._write("MODIFIED", key, after)

    def delete(self, key: Key) -> dict[str, Any]:
        with self.changed:
            gone = self.get(key)
            del self._objects[key]
            self._owners.pop(key, None)
            self._revision += 1
            self._note("DELETED", key, gone)
            return gone

    def apply(
        self, key: Key, wanted: dict[str, Any], manager: str, *, force: bool
    ) -> dict[str, Any]:
        """Apply on the server's side: fields of other managers stay, or conflict."""
        with self.changed:
            if key not in self._objects:
                made = self.create(key, wanted)
                self.own(key, wanted, manager)
                return made
            owners = self._owners.setdefault(key, {})
            have = dict(leaves(self._objects[key]))
            clashes = [
                path
                for path, value in leaves(wanted)
                if owners.get(path, manager) != manager and have.get(path) != value
            ]
            if clashes and not force:
                message = f"Apply failed with {len(clashes)} conflicts: {', '.join(clashes)}"
                raise Refused(409, "Conflict", message)
            mine = {path for path, owner in owners.items() if owner == manager}
            dropped = mine - {path for path, _ in leaves(wanted)}
            made = self.update(key, lambda now: merged(without(now, dropped), wanted))
            for path in dropped:
                owners.pop(path, None)
            self.own(key, wanted, manager)
            return made

    def own(self, key: Key, fields: dict[str, Any], manager: str) -> None:
        """Note who wrote the leaves of a change last."""
        self._owners.setdefault(key, {}).update(
            {
                path: manager
                for path, _ in leaves(fields)
                if not path.startswith("metadata.resource")
            }
        )

    def owner(self, key: Key, path: str) -> str | None:
        return self._owners.get(key, {}).get(path)

    def since(self, revision: int, version: str, plural: str) -> list[Change]:
        with self.changed:
            if revision < self.forgotten:
                raise Refused(410, "Expired", f"too old resource version: {revision}")
            return [
                change
                for change in self._changes
                if change.revision > revision
                and (change.key.version, change.key.plural) == (version, plural)
            ]

    def _write(self, type_: str, key: Key, made: dict[str, Any]) -> dict[str, Any]:
        self._check(made)
        self._revision += 1
        made["metadata"]["resourceVersion"] = str(self._revision)
        self._objects[key] = made
        self._note(type_, key, made)
        return copy.deepcopy(made)

    def _note(self, type_: str, key: Key, made: dict[str, Any]) -> None:
        self._changes.append(Change(self._revision, type_, key, copy.deepcopy(made)))
        self.changed.notify_all()

    def _check(self, made: dict[str, Any]) -> None:
        schema = self._schemas.get(f"{made['apiVersion']}|{made['kind']}")
        if schema is None:
            return
        import jsonschema

        problem = next(iter(jsonschema.Draft202012Validator(schema).iter_errors(made)), None)
        if problem is not None:
            where = ".".join(str(part) for part in problem.absolute_path)
            message = f'{made["kind"]} "{made["metadata"]["name"]}" is invalid: {where}: '
            raise Refused(422, "Invalid", message + problem.message)


def _confined(before: dict[str, Any], after: dict[str, Any], subresource: str) -> dict[str, Any]:
    """Let a write change only what its door allows."""
    kept = ("uid", "creationTimestamp", "generation", "resourceVersion", "name", "namespace")
    if subresource:
        return {**before, subresource: after.get(subresource, {})}
    after["metadata"] = {
        **after.get("metadata", {}),
        **{name: before["metadata"][name] for name in kept},
    }
    if before["kind"] in WITH_STATUS:
        after.pop("status", None)
        if "status" in before:
            after["status"] = before["status"]
    return after


def merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of each leaf; a list is a leaf, and so is a selector."""
    if isinstance(value, dict) and value and prefix not in ATOMIC:
        for name, inner in value.items():
            yield from leaves(inner, f"{prefix}.{name}" if prefix else name)
    elif prefix:
        yield prefix, value


def without(value: dict[str, Any], paths: set[str], prefix: str = "") -> dict[str, Any]:
    """Return an object without some of its leaves."""
    kept = {}
    for name, inner in value.items():
        path = f"{prefix}.{name}" if prefix else name
        if path in paths:
            continue
        kept[name] = without(inner, paths, path) if isinstance(inner, dict) else inner
    return kept


def crd_schemas() -> dict[str, Any]:
    """Return the schemas of the custom resources; skips where they are absent."""
    if not SCHEMAS.exists():
        pytest.skip(f"{SCHEMAS} is absent: no custom resource was validated here")
    found: dict[str, Any] = json.loads(SCHEMAS.read_text())
    return found
