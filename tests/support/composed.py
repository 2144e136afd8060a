"""Read compose files, and find what is wrong with them by rules of our own.

The rules are those of the compose specification that a file of ours can break (services, volumes
and files that are referred to exist; conditions fit what they wait for) and those of this house
(pinned images, no root, nothing of the host's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.support import command_words

Service: TypeAlias = dict[str, Any]
KNOWN = frozenset(
    {
        "build",
        "cap_drop",
        "command",
        "depends_on",
        "entrypoint",
        "env_file",
        "environment",
        "healthcheck",
        "image",
        "init",
        "network_mode",
        "ports",
        "read_only",
        "restart",
        "security_opt",
        "stop_grace_period",
        "tmpfs",
        "user",
        "volumes",
    }
)
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
_SECRET = re.compile(r"(?i)secret|passw|token|credential|private")


def load(path: Path) -> dict[str, Any]:
    """Read a compose file."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def findings(composed: dict[str, Any], folder: Path) -> list[str]:
    """Say what is wrong with a compose file that lies in a folder."""
    top = {name for name in composed if not name.startswith("x-")}
    found = [f"{name}: no such element" for name in top - {"name", "services", "volumes"}]
    services: dict[str, Service] = composed.get("services", {})
    for name, service in services.items():
        for rule in (_words, _image, _rights, _secrets, _command, _health):
            found += [f"{name}: {text}" for text in rule(service)]
        found += [f"{name}: {text}" for text in _places(service, composed, folder)]
        found += [f"{name}: {text}" for text in _relations(service, services)]
    return [*found, *_ports(services), *_circles(services)]


def _words(service: Service) -> Iterator[str]:
    for word in sorted(set(service) - KNOWN):
        yield f"{word} is no element of a service that we use"


def _image(service: Service) -> Iterator[str]:
    image = service.get("image", "")
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"image {image!r} has no tag of its own"
    if "." in image.partition("/")[0] and "/" in image:
        yield f"image {image!r} names a registry"


def _rights(service: Service) -> Iterator[str]:
    if str(service.get("user", "root")).partition(":")[0] in {"0", "root"}:
        yield "it runs as root"
    if service.get("network_mode") == "host":
        yield "it uses the network of the host"
    if "ALL" not in service.get("cap_drop", []):
        yield "it keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "it may gain privileges"


def _secrets(service: Service) -> Iterator[str]:
    for name, value in service.get("environment", {}).items():
        if _SECRET.search(name) and value:
            yield f"{name}: a secret belongs into the file of env_file"
        if not isinstance(value, str):
            yield f"{name}: {value!r} is not text; quote it"


def _command(service: Service) -> Iterator[str]:
    ours = service.get("image", "").startswith("coppice-worker:")
    if (
        ours
        and "entrypoint" not in service
        and (text := command_words.complaint(service["command"]))
    ):
        yield text


def _health(service: Service) -> Iterator[str]:
    check = service.get("healthcheck")
    if check and (check.get("test", [""])[0] != "CMD" or not {"interval", "timeout"} <= set(check)):
        yield "its health check is no list of words with an interval and a timeout"


def _places(service: Service, composed: dict[str, Any], folder: Path) -> Iterator[str]:
    targets: set[str] = set()
    for volume in service.get("volumes", []):
        source, target, *_ = volume.split(":")
        if not target.startswith("/") or target in targets:
            yield f"{volume}: the target is not absolute, or taken"
        targets.add(target)
        if source.startswith((".", "/")):
            if not (folder / source).exists():
                yield f"{volume}: it is not there"
            if not volume.endswith(":ro"):
                yield f"{volume}: a folder of the repository may only be read"
        elif source not in composed.get("volumes", {}):
            yield f"{volume}: no such volume"
    for file in service.get("env_file", []):
        if not (folder / f"{file}.example").exists():
            yield f"{file}: there is no example of it"
    build = service.get("build")
    if build and not (folder / build["context"] / build["dockerfile"]).is_file():
        yield f"{build['dockerfile']}: it is not there"


def _relations(service: Service, services: dict[str, Service]) -> Iterator[str]:
    for name, wait in service.get("depends_on", {}).items():
        if name not in services:
            yield f"it waits for {name}, which there is not"
        elif wait.get("condition") not in CONDITIONS:
            yield f"it waits for {name} without a condition that is known"
        elif wait["condition"] == "service_healthy" and "healthcheck" not in services[name]:
            yield f"it waits for the health of {name}, which has no check"
    mode = service.get("network_mode", "")
    if mode.startswith("service:"):
        if mode.removeprefix("service:") not in services:
            yield f"{mode}: no such service"
        if "ports" in service:
            yield "whoever shares a network cannot have ports"


def _ports(services: dict[str, Service]) -> Iterator[str]:
    published: set[str] = set()
    for name, service in services.items():
        for port in service.get("ports", []):
            host, number, _ = port.rsplit(":", 2)
            if host != "127.0.0.1":
                yield f"{name}: {port} is open to other machines"
            if number in published:
                yield f"{name}: port {number} is published twice"
            published.add(number)


def _circles(services: dict[str, Service]) -> Iterator[str]:
    waits = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    while free := {name for name, needs in waits.items() if not needs & set(waits)}:
        waits = {name: needs for name, needs in waits.items() if name not in free}
    if waits:
        yield f"they wait for each other: {', '.join(sorted(waits))}"
