"""Schemas of what the chart renders: built-in kinds by version, custom ones by their tool."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.support import kube_store
from tests.support.manifests import Object, title

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
"""The versions that the chart supports; 1.29 is the first with a preStop that sleeps."""

MONITORING = "monitoring.coreos.com/v1"
TOOLS = frozenset({
    "argoproj.io",
    "flagger.app",
    "gateway.networking.k8s.io",
    "keda.sh",
    "monitoring.coreos.com",
})  # fmt: skip
"""Groups of the kinds that a cluster has only where their tool is installed."""


def built_in(found: Object, version: str) -> str | None:
    """Return what one version has against an object of its own, `None` where nothing.

    Raises
    ------
    LookupError
        That version does not know the kind.
    """
    library = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is absent")
    try:
        library.validate(found, version, strict=True)
    except library.ValidationError as problem:
        where = ".".join(str(part) for part in problem.path)
        return f"{title(found)} on {version}: {where}: {problem.message}"
    except library.SchemaNotFoundError as problem:
        raise LookupError(title(found)) from problem
    return None


@functools.cache
def custom() -> dict[str, Any]:
    """Return the schemas of the custom resources; skips where they are absent."""
    found = dict(kube_store.crd_schemas())
    found[f"{MONITORING}|PodMonitor"] = pod_monitor(found[f"{MONITORING}|ServiceMonitor"])
    return found


def pod_monitor(service_monitor: Any) -> Any:
    """Return a schema for PodMonitors, made from that of ServiceMonitors.

    It is not among the schemas that the tests have; the two differ, in what we use of them, in the
    name of the list of endpoints alone. What a PodMonitor cannot have is taken out.
    """
    spec = service_monitor["properties"]["spec"]
    own = {
        name: part
        for name, part in spec["properties"].items()
        if name not in {"endpoints", "targetLabels", "serviceDiscoveryRole"}
    }
    ends = spec["properties"]["endpoints"]
    known = {
        name: part
        for name, part in ends["items"]["properties"].items()
        if name not in {"bearerTokenFile", "tlsConfig"}
    }
    own["podMetricsEndpoints"] = {**ends, "items": {**ends["items"], "properties": known}}
    closed = {**spec, "properties": own, "required": ["selector"]}
    return {**service_monitor, "properties": {**service_monitor["properties"], "spec": closed}}


def is_custom(found: Object) -> bool:
    """Say whether a kind is of a tool, not of Kubernetes itself."""
    return str(found["apiVersion"]).partition("/")[0] in TOOLS


def of_tools(found: Object) -> Iterator[str]:
    """Yield what the schema of a tool has against an object; a kind without one is a fault."""
    schema = custom().get(f"{found['apiVersion']}|{found['kind']}")
    if schema is None:
        yield f"{title(found)}: no custom resource of {found['apiVersion']} is of this kind"
        return
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(found):
        where = ".".join(str(part) for part in problem.absolute_path)
        yield f"{title(found)}: {where}: {problem.message}"


def of_kubernetes(found: Object) -> Iterator[str]:
    """Yield what the supported versions have against an object; an unknown kind is a fault."""
    for version in VERSIONS:
        yield from faults_on(version, found)


def faults_on(version: str, found: Object) -> Iterator[str]:
    """Yield what one version has against an object, or that it does not know the kind."""
    try:
        told = built_in(found, version)
    except LookupError:
        told = f"{title(found)}: {version} does not know this kind"
    if told is not None:
        yield told
