"""Pure rules over the objects that a chart renders: what schemas cannot see.

Each rule takes all objects of one release and returns a sentence for each fault. A fault in the
wiring (a selector that fits nothing, a port without a name) passes every schema and every lint, and
shows only in a cluster, as pods that get no traffic.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Object = dict[str, Any]
Objects = Sequence[Object]

WITH_TEMPLATE = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout", "Job"}
)
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?")
NAME_LIMITS = {"Service": 63, "CronJob": 52, "Deployment": 63, "Rollout": 63, "Job": 63}
"""Names that become labels of others are short; a CronJob adds eleven characters to its jobs."""
COMMON_LABELS = frozenset({
    "helm.sh/chart",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
})  # fmt: skip
HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc"})
ROUTING = "coppice.dev/routing"


class PodTemplate(NamedTuple):
    """A pod that an object asks for."""

    owner: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: Object
    claims: tuple[str, ...] = ()
    """Volumes that a StatefulSet makes for each pod."""

    @property
    def containers(self) -> list[Object]:
        """Return the containers that stay."""
        return [*self.spec.get("containers", []), *filter(_stays, self._first)]

    @property
    def everything(self) -> list[Object]:
        """Return all containers, those of the start too."""
        return [*self.spec.get("containers", []), *self._first]

    @property
    def _first(self) -> list[Object]:
        found: list[Object] = self.spec.get("initContainers", [])
        return found


def _stays(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def title(found: Object) -> str:
    """Name an object in a sentence."""
    return f"{found.get('kind')}/{found.get('metadata', {}).get('name')}"


def pods(objects: Objects) -> list[PodTemplate]:
    """Return every pod that is asked for, by whatever kind."""
    made = []
    for found in objects:
        template = pod_of(found)
        if template is not None:
            metadata = template.get("metadata", {})
            made.append(
                PodTemplate(
                    title(found),
                    metadata.get("labels", {}),
                    metadata.get("annotations", {}),
                    template["spec"],
                    tuple(
                        claim["metadata"]["name"]
                        for claim in found["spec"].get("volumeClaimTemplates", [])
                    ),
                )
            )
    return made


def pod_of(found: Object) -> Object | None:
    """Return the pod template of an object, `None` where it has none."""
    kind, spec = found["kind"], found.get("spec", {})
    if kind == "Pod":
        return found
    if kind == "CronJob":
        template: Object = spec["jobTemplate"]["spec"]["template"]
        return template
    if kind in WITH_TEMPLATE:
        return spec.get("template")
    return None


def names(objects: Objects) -> Iterator[str]:
    """Names, labels and their values are what a cluster takes; every name is short enough."""
    for found in objects:
        metadata, kind = found["metadata"], found["kind"]
        name = metadata.get("name", "")
        limit = NAME_LIMITS.get(kind, 253)
        # Names of roles are path segments, which may have a colon; ours need none.
        if not SUBDOMAIN.fullmatch(name) or len(name) > limit:
            yield f"{title(found)}: not a DNS-1123 name of at most {limit} characters"
        if kind == "Service" and not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
            yield f"{title(found)}: a service's name begins with a letter and has no dots"
        yield from _metadata(title(found), metadata)
    for pod in pods(objects):
        yield from _metadata(f"{pod.owner}: pod", pod._asdict())
        for part in (*pod.everything, *pod.spec.get("volumes", [])):
            if not LABEL.fullmatch(part["name"]):
                yield f"{pod.owner}: {part['name']!r} is no DNS-1123 label"


def _metadata(name: str, metadata: Mapping[str, Any]) -> Iterator[str]:
    for key, value in metadata.get("labels", {}).items():
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            yield f"{name}: label {key}: {value!r} is no value of a label"
    for key, value in metadata.get("annotations", {}).items():
        if not isinstance(value, str):
            yield f"{name}: annotation {key}: {value!r} is no text"
    for key in (*metadata.get("labels", {}), *metadata.get("annotations", {})):
        prefix, _, last = key.rpartition("/")
        if (
            not LABEL_VALUE.fullmatch(last)
            or not last
            or (prefix and not SUBDOMAIN.fullmatch(prefix))
        ):
            yield f"{name}: {key!r} is no key"


def quantities(objects: Objects) -> Iterator[str]:
    """Resources are quantities, requests are within limits, memory is never in milli-bytes."""
    for pod in pods(objects):
        for box in pod.everything:
            asked = box.get("resources", {})
            for side in ("requests", "limits"):
                yield from _amounts(f"{pod.owner}: {box['name']}: {side}", asked.get(side, {}))
            for what, amount in asked.get("requests", {}).items():
                most = asked.get("limits", {}).get(what)
                if most is not None and amount_of(amount) > amount_of(most):
                    yield f"{pod.owner}: {box['name']} requests more {what} than its limit"
        for volume in pod.spec.get("volumes", []):
            size = (volume.get("emptyDir") or {}).get("sizeLimit")
            if size is not None:
                yield from _amounts(f"{pod.owner}: {volume['name']}", {"size": size})
    for found in objects:
        if found["kind"] == "PersistentVolumeClaim":
            yield from _amounts(title(found), found["spec"]["resources"]["requests"])


def _amounts(where: str, amounts: Mapping[str, Any]) -> Iterator[str]:
    for what, amount in amounts.items():
        if not QUANTITY.fullmatch(str(amount)):
            yield f"{where}: {what}: {amount!r} is no quantity"
        elif what in {"memory", "storage", "size"} and str(amount).endswith("m"):
            yield f"{where}: {what}: {amount!r} is a part of a byte"


def amount_of(quantity: Any) -> float:
    """Return a quantity as a number; one that is none is nought.

    >>> amount_of("250m"), amount_of("1Gi"), amount_of(2)
    (0.25, 1073741824.0, 2.0)
    """
    found = re.match(r"([0-9.]+)([a-zA-Z]*)", str(quantity))
    if found is None:
        return 0.0
    powers = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    binary = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
    return float(found[1]) * {**powers, **binary}.get(found[2], 1.0)


def probes(box: Object) -> dict[str, Object]:
    """Return the probes of a container."""
    asked = ("startupProbe", "readinessProbe", "livenessProbe")
    return {name: box[name] for name in asked if name in box}


def one_handler(objects: Objects) -> Iterator[str]:
    """A probe or a hook has one handler; a schema allows two, a cluster none."""
    for pod in pods(objects):
        for box in pod.everything:
            hooks = {f"lifecycle.{n}": h for n, h in box.get("lifecycle", {}).items()}
            for name, handler in {**probes(box), **hooks}.items():
                kinds = (HANDLERS | {"sleep"}) & handler.keys()
                if len(kinds) != 1:
                    yield f"{pod.owner}: {box['name']}.{name} has handlers {sorted(kinds)}"


def labelled(objects: Objects) -> Iterator[str]:
    """Every object carries all recommended labels, and so does every pod, but for the chart's.

    The chart's version in a pod's labels would start every pod anew with each release of the chart.
    """
    for found in objects:
        missing = COMMON_LABELS - found["metadata"].get("labels", {}).keys()
        if missing:
            yield f"{title(found)}: lacks the labels {sorted(missing)}"
    for pod in pods(objects):
        if "helm.sh/chart" in pod.labels and not pod.owner.startswith("Pod/"):
            yield f"{pod.owner}: its pods carry the chart's version"
        missing = {"app.kubernetes.io/name", "app.kubernetes.io/instance"} - pod.labels.keys()
        if missing:
            yield f"{pod.owner}: its pods lack the labels {sorted(missing)}"


def no_nulls(objects: Objects) -> Iterator[str]:
    """Nothing is null: where a template forgot a value, a cluster sees a list of none."""
    for found in objects:
        for path, value in walk(found):
            if value is None:
                yield f"{title(found)}: {path} is null"


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value below another, with its dotted path."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        yield path, value
    for key, each in inner:
        yield from walk(each, f"{path}.{key}" if path else str(key))


def once(objects: Objects) -> Iterator[str]:
    """No object comes twice."""
    seen = set()
    for found in objects:
        key = (found["apiVersion"].partition("/")[0], title(found))
        if key in seen:
            yield f"{title(found)} comes twice"
        seen.add(key)


def one_scaler(objects: Objects) -> Iterator[str]:
    """A workload has one scaler at most, and where it has one, no number of replicas of its own."""
    scaled: dict[str, list[str]] = {}
    for found in objects:
        if found["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = found["spec"]["scaleTargetRef"]
            key = f"{target.get('kind', 'Deployment')}/{target['name']}"
            scaled.setdefault(key, []).append(title(found))
    for key, scalers in scaled.items():
        if len(scalers) > 1:
            yield f"{key} is scaled by {' and '.join(scalers)}"
    for found in objects:
        fixed = "replicas" in found.get("spec", {})
        if title(found) in scaled and fixed:
            yield f"{title(found)} has a scaler, and a number of replicas too"


def no_routing(objects: Objects) -> Iterator[str]:
    """The annotation that a controller owns is never rendered; an upgrade would take it back."""
    settings = [str(found.get("data", {}).get("coppice.toml", "")) for found in objects]
    owned = not any('write_back = "none"' in text for text in settings)
    for found in objects:
        for path, _ in walk(found):
            if owned and f"annotations.{ROUTING}" in path:
                yield f"{title(found)}: renders {path}"


def volumes(objects: Objects) -> Iterator[str]:
    """What is mounted is there, what is there is mounted, and no two mounts are in one place."""
    for pod in pods(objects):
        there = {volume["name"] for volume in pod.spec.get("volumes", [])} | {*pod.claims}
        used = set()
        for box in pod.everything:
            mounts = box.get("volumeMounts", [])
            places = [(mount["mountPath"], mount.get("subPath")) for mount in mounts]
            used |= {mount["name"] for mount in mounts}
            if len({place for place, _ in places}) < len(places):
                yield f"{pod.owner}: {box['name']} mounts two volumes in one place"
        for name in sorted(used - there):
            yield f"{pod.owner}: mounts {name!r}, which is not there"
        for name in sorted(there - used):
            yield f"{pod.owner}: nobody mounts {name!r}"


def environment(objects: Objects) -> Iterator[str]:
    """A variable is set once, and its value is a text."""
    for pod in pods(objects):
        for box in pod.everything:
            found = [each["name"] for each in box.get("env", [])]
            for name in sorted({name for name in found if found.count(name) > 1}):
                yield f"{pod.owner}: {box['name']} sets {name} twice"


def canonical(found: Object) -> str:
    """Return an object as a text that is the same for equal objects."""
    return json.dumps(found, sort_keys=True)


RULES: tuple[Callable[[Objects], Iterator[str]], ...] = (
    names,
    quantities,
    one_handler,
    labelled,
    no_nulls,
    once,
    one_scaler,
    no_routing,
    volumes,
    environment,
)
"""Every rule that needs nothing but the objects; the rest is in the modules beside this one."""
