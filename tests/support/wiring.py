"""Pure rules over rendered objects: selectors that fit, and ports that are there.

A fault in the wiring passes every schema and every lint, and shows only in a cluster, as pods that
get no traffic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.manifests import WITH_TEMPLATE, Object, Objects, pod_of, pods, probes, title

PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def fits(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Say whether labels have what a selector asks for; an empty selector asks for nothing."""
    return selector.items() <= labels.items()


def selectors(objects: Objects) -> Iterator[str]:
    """Every selector fits something: its own template, or some pod, or for a monitor a service."""
    for found in objects:
        spec, name = found.get("spec", {}), title(found)
        template = pod_of(found)
        wanted = (
            spec.get("selector", {}).get("matchLabels", {}) if found["kind"] != "Service" else {}
        )
        if found["kind"] in WITH_TEMPLATE and template is not None and wanted:
            labels = template["metadata"].get("labels", {})
            if not fits(wanted, labels):
                yield f"{name}: its selector {wanted} does not fit its own pods {labels}"
        for what, asked in _asked(found):
            if not asked or not _somebody(what, asked, objects):
                yield f"{name}: no {what} of this release has the labels {asked}"
    for pod in pods(objects):
        for spread in pod.spec.get("topologySpreadConstraints", []):
            asked = spread["labelSelector"]["matchLabels"]
            if not fits(asked, pod.labels):
                yield f"{pod.owner}: spreads other pods than its own, {asked}"


def _asked(found: Object) -> Iterator[tuple[str, Mapping[str, str]]]:
    spec = found.get("spec", {})
    match found["kind"]:
        case "Service":
            yield "pod", spec.get("selector", {})
        case "PodDisruptionBudget" | "PodMonitor":
            yield "pod", spec["selector"].get("matchLabels", {})
        case "NetworkPolicy":
            yield "pod", spec["podSelector"].get("matchLabels", {})
        case "ServiceMonitor":
            yield "service", spec["selector"].get("matchLabels", {})


def _somebody(what: str, asked: Mapping[str, str], objects: Objects) -> bool:
    if what == "pod":
        return any(fits(asked, pod.labels) for pod in pods(objects))
    services = [found for found in objects if found["kind"] == "Service"]
    return any(fits(asked, found["metadata"].get("labels", {})) for found in services)


def ports(objects: Objects) -> Iterator[str]:
    """Port names are short and once; a port that is named somewhere is there."""
    for pod in pods(objects):
        names = [port["name"] for box in pod.containers for port in box.get("ports", [])]
        for port in sorted({name for name in names if names.count(name) > 1}):
            yield f"{pod.owner}: two ports are called {port!r}"
        for port in names:
            if not PORT_NAME.fullmatch(port):
                yield f"{pod.owner}: {port!r} is no name of a port"
        for box in pod.everything:
            here = {port["name"] for port in box.get("ports", [])}
            for asked in _probed(box):
                if isinstance(asked, str) and asked not in here:
                    yield f"{pod.owner}: {box['name']} has no port {asked!r} to be probed"
    for found in objects:
        yield from _behind(found, objects)


def _probed(box: Object) -> Iterator[Any]:
    hooks = [box.get("lifecycle", {}).get(hook, {}) for hook in ("preStop", "postStart")]
    for handler in (*probes(box).values(), *hooks):
        for kind in ("httpGet", "tcpSocket", "grpc"):
            if kind in handler:
                yield handler[kind]["port"]


def _behind(found: Object, objects: Objects) -> Iterator[str]:
    name, spec = title(found), found.get("spec", {})
    match found["kind"]:
        case "Service":
            there = _pod_ports(spec.get("selector", {}), objects)
            for port in spec["ports"]:
                target = port.get("targetPort", port["port"])
                if not isinstance(target, str):
                    yield f"{name}: port {port['port']} goes to a number, not to a name"
                elif target not in there:
                    yield f"{name}: its pods have no port {target!r}"
        case "ServiceMonitor":
            there = _service_ports(spec["selector"]["matchLabels"], objects)
            yield from _ends(name, "service", spec["endpoints"], there)
        case "PodMonitor":
            there = _pod_ports(spec["selector"]["matchLabels"], objects)
            yield from _ends(name, "pod", spec["podMetricsEndpoints"], there)


def _ends(name: str, what: str, ends: list[Object], there: set[str]) -> Iterator[str]:
    for end in ends:
        if end["port"] not in there:
            yield f"{name}: no {what} has a port {end['port']!r}"


def _pod_ports(selector: Mapping[str, str], objects: Objects) -> set[str]:
    return {
        port["name"]
        for pod in pods(objects)
        if fits(selector, pod.labels)
        for box in pod.containers
        for port in box.get("ports", [])
    }


def _service_ports(selector: Mapping[str, str], objects: Objects) -> set[str]:
    return {
        port["name"]
        for found in objects
        if found["kind"] == "Service" and fits(selector, found["metadata"].get("labels", {}))
        for port in found["spec"]["ports"]
    }


RULES: tuple[Callable[[Objects], Iterator[str]], ...] = (selectors, ports)
