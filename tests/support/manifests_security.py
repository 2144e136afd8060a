"""Pure rules over rendered objects: what a pod may do, and what lies in the open.

References
----------
Kubernetes, Pod Security Standards, profile "restricted":
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.support.manifests import Object, Objects, PodTemplate, pods, title, walk

VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
})  # fmt: skip
"""Kinds of volumes that the profile allows."""
_SECRET = re.compile(r"(?i)passw|secret|token|api_?key|credential|private_?key|access_?key")
_PLACE = re.compile(r"(?i)(_|-|\b)(file|path|name|dir|ref|mechanism)$")


def restricted(objects: Objects) -> Iterator[str]:
    """Every pod keeps the profile "restricted", and more: no root file system is written to."""
    for pod in pods(objects):
        yield from _pod(pod)
        for box in pod.everything:
            for fault in _container(pod, box):
                yield f"{pod.owner}: {box['name']}: {fault}"


def _pod(pod: PodTemplate) -> Iterator[str]:
    for shared in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.spec.get(shared):
            yield f"{pod.owner}: {shared}"
    for volume in pod.spec.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= VOLUMES:
            yield f"{pod.owner}: volume {volume['name']} is of kind {sorted(kinds)}"
    if pod.spec.get("securityContext", {}).get("sysctls"):
        yield f"{pod.owner}: sets sysctls"


def _container(pod: PodTemplate, box: Object) -> Iterator[str]:
    whole, own = pod.spec.get("securityContext", {}), box.get("securityContext", {})
    both = {**whole, **own}
    if both.get("runAsNonRoot") is not True:
        yield "may run as root"
    if both.get("runAsUser") == 0 or both.get("runAsGroup") == 0:
        yield "runs as user or group 0"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "has no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if own.get("privileged"):
        yield "is privileged"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "keeps capabilities"
    if any("hostPort" in port for port in box.get("ports", [])):
        yield "takes a port of the node"


def tokens(objects: Objects) -> Iterator[str]:
    """A pod either says that it gets no token of the API server, or has an account of its own.

    A token that nobody needs is one that an intruder finds.
    """
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName", "default")
        if pod.spec.get("automountServiceAccountToken") is not False and account == "default":
            yield f"{pod.owner}: gets the token of the default account"
    bound = {
        subject["name"]
        for found in objects
        if found["kind"] == "RoleBinding"
        for subject in found["subjects"]
    }
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName")
        if pod.spec.get("automountServiceAccountToken") is not False and account not in bound:
            yield f"{pod.owner}: gets a token that no role is bound to"


def least(objects: Objects) -> Iterator[str]:
    """Roles are of one namespace, name what they allow, and allow nothing by a star."""
    for found in objects:
        if found["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
            yield f"{title(found)}: reaches beyond its namespace"
        for rule in found.get("rules", []) if found["kind"] == "Role" else []:
            for part in ("verbs", "resources", "apiGroups"):
                if "*" in rule[part]:
                    yield f"{title(found)}: allows all {part}"
            if "secrets" in rule["resources"]:
                yield f"{title(found)}: may read secrets"


def secrets(objects: Objects) -> Iterator[str]:
    """No secret is rendered: neither as such, nor in a ConfigMap, nor as a variable's value."""
    for found in objects:
        if found["kind"] == "Secret":
            yield f"{title(found)}: its values would lie in the release"
        if found["kind"] == "ConfigMap":
            for path, value in walk(found.get("data", {})):
                for line in str(value).splitlines() if not path.endswith(".json") else []:
                    yield from _open(f"{title(found)}: {path}", line)
    for pod in pods(objects):
        for box in pod.everything:
            for each in box.get("env", []):
                yield from _open(
                    f"{pod.owner}: {box['name']}", f"{each['name']} = {each.get('value', '')}"
                )


def _open(where: str, line: str) -> Iterator[str]:
    """Find `name = value` or `name: value` where the name is that of a secret."""
    found = re.fullmatch(r"\s*\"?([\w.-]+)\"?\s*[:=]\s*(.*)", line.partition("#")[0])
    if found is None or not _SECRET.search(found[1]) or _PLACE.search(found[1]):
        return
    if found[2].strip().strip("\"'") not in {"", "|", ">"}:
        yield f"{where}: {found[1]} is set in the open"


def pinned(objects: Objects) -> Iterator[str]:
    """Every image is named by a digest, or by a tag that is not `latest`."""
    for pod in pods(objects):
        for box in pod.everything:
            image, _, digest = box["image"].partition("@")
            tag = image.rpartition("/")[2].partition(":")[2]
            if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                yield f"{pod.owner}: {box['name']}: {digest!r} is no digest"
            if not digest and tag in {"", "latest"}:
                yield f"{pod.owner}: {box['name']}: image {box['image']!r} is not pinned"


RULES: tuple[Callable[[Objects], Iterator[str]], ...] = (restricted, tokens, least, secrets, pinned)
