"""Pure rules over rendered objects: every name that is referred to is there, or was there before.

What a release refers to is either rendered with it, or named by a value that begins with
`existing` or `extra`, which says that somebody else made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.manifests import Objects, pods, title, walk

POD = {
    "serviceAccountName": "ServiceAccount",
    "imagePullSecrets.*.name": "Secret",
    "volumes.*.persistentVolumeClaim.claimName": "PersistentVolumeClaim",
    "volumes.*.configMap.name": "ConfigMap",
    "volumes.*.secret.secretName": "Secret",
    "volumes.*.projected.sources.*.configMap.name": "ConfigMap",
    "volumes.*.projected.sources.*.secret.name": "Secret",
    "containers.*.env.*.valueFrom.configMapKeyRef.name": "ConfigMap",
    "containers.*.env.*.valueFrom.secretKeyRef.name": "Secret",
    "containers.*.envFrom.*.configMapRef.name": "ConfigMap",
    "containers.*.envFrom.*.secretRef.name": "Secret",
    "initContainers.*.env.*.valueFrom.configMapKeyRef.name": "ConfigMap",
    "initContainers.*.env.*.valueFrom.secretKeyRef.name": "Secret",
    "initContainers.*.envFrom.*.configMapRef.name": "ConfigMap",
    "initContainers.*.envFrom.*.secretRef.name": "Secret",
}
"""Where a pod names other objects, and of which kind; `*` is every element of a list or a table."""

CANARY = "spec.strategy.canary"
OBJECTS = {
    "AnalysisTemplate": {"spec.args.*.valueFrom.secretKeyRef.name": "Secret"},
    "Canary": {"spec.analysis.metrics.*.templateRef.name": "MetricTemplate"},
    "Ingress": {
        "spec.rules.*.http.paths.*.backend.service.name": "Service",
        "spec.tls.*.secretName": "Secret",
    },
    "HTTPRoute": {"spec.rules.*.backendRefs.*.name": "Service"},
    "PodMonitor": {"spec.podMetricsEndpoints.*.authorization.credentials.name": "Secret"},
    "Rollout": {
        f"{CANARY}.canaryService": "Service",
        f"{CANARY}.stableService": "Service",
        f"{CANARY}.analysis.templates.*.templateName": "AnalysisTemplate",
        f"{CANARY}.steps.*.analysis.templates.*.templateName": "AnalysisTemplate",
        f"{CANARY}.trafficRouting.plugins.*.httpRoute": "HTTPRoute",
    },
    "ServiceMonitor": {"spec.endpoints.*.authorization.credentials.name": "Secret"},
}
"""The same for other kinds."""

TARGETS = {
    "Canary": ("spec.targetRef", "spec.autoscalerRef", "spec.ingressRef"),
    "HorizontalPodAutoscaler": ("spec.scaleTargetRef",),
    "RoleBinding": ("roleRef", "subjects.*"),
    "Rollout": ("spec.workloadRef",),
    "ScaledObject": ("spec.scaleTargetRef", "spec.triggers.*.authenticationRef"),
}
"""Where an object names another one by its kind, too."""

DEFAULTS = {"spec.triggers.*.authenticationRef": "TriggerAuthentication"}
"""The kind that is meant where none is said; else a Deployment."""

KEYS = {
    "volumes.*.configMap": "items.*.key",
    "volumes.*.projected.sources.*.configMap": "items.*.key",
    "containers.*.env.*.valueFrom.configMapKeyRef": "key",
    "initContainers.*.env.*.valueFrom.configMapKeyRef": "key",
}
"""Where a pod names entries of a ConfigMap."""


CANARYS_TARGET = "spec.targetRef.name"

BY_CLUSTER = frozenset({("ConfigMap", "kube-root-ca.crt")})
"""What a cluster puts into every namespace."""


class Reference(NamedTuple):
    """One object that another one names."""

    by: str
    kind: str
    name: str


def missing(objects: Objects, values: Mapping[str, Any]) -> Iterator[str]:
    """Every reference leads somewhere, and so does every entry of a ConfigMap that is named."""
    there = {(found["kind"], found["metadata"]["name"]) for found in objects} | BY_CLUSTER
    # Flagger makes a Service of its target's name itself.
    there |= {("Service", name) for each in objects for name in along(each, CANARYS_TARGET)}
    before = set(existing(values))
    for asked in references(objects):
        if (asked.kind, asked.name) not in there and asked.name not in before:
            yield f"{asked.by}: there is no {asked.kind} {asked.name!r}"
    maps = {found["metadata"]["name"]: found for found in objects if found["kind"] == "ConfigMap"}
    for pod in pods(objects):
        for place, keys in KEYS.items():
            for used in along(pod.spec, place):
                entries = maps.get(used["name"], {}).get("data", {})
                for key in along(used, keys):
                    if used["name"] in maps and key not in entries:
                        yield f"{pod.owner}: ConfigMap {used['name']!r} has no entry {key!r}"


def existing(values: Any) -> Iterator[str]:
    """Yield every name in the values that stands for something made before the release.

    >>> list(existing({"kafka": {"existingSecret": "a"}, "pull": {"existingSecrets": ["b"]}}))
    ['a', 'b']
    """
    if isinstance(values, list):
        for each in values:
            yield from existing(each)
    if isinstance(values, dict):
        # An account that the chart is told not to make.
        if values.get("create") is False and values.get("name"):
            yield values["name"]
        for key, value in values.items():
            if str(key).startswith(("existing", "extra")):
                yield from (text for _, text in walk(value) if text and isinstance(text, str))
            else:
                yield from existing(value)


def references(objects: Objects) -> Iterator[Reference]:
    """Yield every reference of every object."""
    for pod in pods(objects):
        for place, kind in POD.items():
            for name in along(pod.spec, place):
                yield Reference(pod.owner, kind, name)
    for found in objects:
        for place, kind in OBJECTS.get(found["kind"], {}).items():
            for name in along(found, place):
                yield Reference(title(found), kind, name)
        for place in TARGETS.get(found["kind"], ()):
            for asked in along(found, place):
                kind = asked.get("kind", DEFAULTS.get(place, "Deployment"))
                yield Reference(title(found), kind, asked["name"])


def along(value: Any, place: str) -> Iterator[Any]:
    """Yield what lies at the end of a dotted path; nothing where the path ends before.

    >>> list(along({"a": [{"b": 1}, {"c": 2}, {"b": 3}]}, "a.*.b"))
    [1, 3]
    """
    if not place:
        yield value
        return
    step, _, rest = place.partition(".")
    inner: list[Any] = []
    if step == "*":
        inner = list(value.values()) if isinstance(value, dict) else value
    elif isinstance(value, dict) and step in value:
        inner = [value[step]]
    for each in inner:
        yield from along(each, rest)


def urls(objects: Objects, namespace: str) -> Iterator[str]:
    """An address in the release's namespace names a service of it, and a port that it has."""
    services = {
        found["metadata"]["name"]: {str(port["port"]) for port in found["spec"]["ports"]}
        for found in objects
        if found["kind"] == "Service"
    }
    for found in objects:
        if found["kind"] == "Canary":
            # Flagger makes this one itself.
            port = found["spec"]["service"]["port"]
            services[found["spec"]["targetRef"]["name"]] = {str(port)}
    for by, host, port in _addresses(objects):
        name, *rest = host.split(".")
        if rest[:1] != [namespace]:
            continue
        if name not in services:
            yield f"{by}: there is no Service {name!r}"
        elif port not in services[name]:
            yield f"{by}: Service {name!r} has no port {port!r}"


def _addresses(objects: Objects) -> Iterator[tuple[str, str, str]]:
    for found in objects:
        for path, value in walk(found):
            for host, port in re.findall(r"http://([a-z0-9.-]+)(?::(\d+))?", str(value)):
                yield f"{title(found)}: {path}", host, port or "80"
