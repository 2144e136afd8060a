"""Checks of the machine: libraries, shadowed packages, variables, ports, disk."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

from coppice import settings
from coppice_cli import doors, guard
from coppice_cli.doctor import finding
from coppice_cli.doctor.finding import Finding
from coppice_cli.supervise import lock

LITTLE_SPACE = 2**30
"""Free bytes below which the doctor warns: a version with its parent takes some 10 MB."""
NO_SPACE = 100 * 2**20
"""Free bytes below which nothing should be started."""


def libraries(requirements: Iterable[str]) -> list[Finding]:
    """Compare the installed versions with what is required, for example `pandas<3.1,>=2.3`.

    >>> libraries(["numpy>=1"])[0].level, libraries(["numpy<1"])[0].level
    ('ok', 'problem')
    """
    wrong = [
        text
        for requirement in map(Requirement, requirements)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if (text := _mismatch(requirement))
    ]
    if wrong:
        remedy = "reinstall with `pip install coppice`, in an environment of its own"
        return [finding.problem("libraries", text, remedy) for text in wrong]
    return [finding.ok("libraries", "every library has a version that works")]


def required() -> list[str]:
    """Return what our own package requires."""
    return importlib.metadata.requires("coppice") or []


def _mismatch(requirement: Requirement) -> str:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} {version} is installed, but Coppice needs {requirement}"


def packages() -> list[Finding]:
    """Check that nothing hides our own packages."""
    hidden = guard.shadows()
    if hidden:
        return [finding.problem("packages", guard.explain(name, place)) for name, place in hidden]
    return [finding.ok("packages", "nothing hides Coppice's own packages")]


def variables() -> list[Finding]:
    """Check that every `COPPICE_` variable with two underscores is read by a setting."""
    typos = settings.environment_typos()
    if typos:
        remedy = "rename or unset the variable"
        return [finding.warning("variables", typo, remedy) for typo in typos]
    return [finding.ok("variables", "no COPPICE_ variable is misspelt")]


def ports(tree: settings.Settings) -> list[Finding]:
    """Check that server, monitor and controller can listen where they are told to."""
    places = {
        "serve": (tree.serve.host, tree.serve.port),
        "monitor": (tree.monitor.host, tree.monitor.port),
    }
    if tree.rollout.port:
        places["rollout"] = (tree.rollout.host, tree.rollout.port)
    taken = list(places.values())
    shared = [section for section, place in places.items() if taken.count(place) > 1]
    if shared:
        named = " and ".join(f"{section}.port" for section in shared)
        text = f"{named} are the same: {places[shared[0]][1]}"
        return [finding.problem("ports", text, "give each its own port")]
    running = lock.read_status(tree.home)
    if running is not None:
        text = f"in use by `coppice up`, which runs as process {running.pid}"
        return [finding.ok("ports", text)]
    return [_port(section, host, port) for section, (host, port) in places.items()]


def _port(section: str, host: str, port: int) -> Finding:
    reason = doors.refusal(host, port)
    if reason is None:
        return finding.ok("ports", f"{section} can listen on {host}:{port}")
    text = f"{section} cannot listen on {host}:{port} ({reason})"
    remedy = f"fine if it is `coppice {section}`; else set {section}.host or {section}.port"
    return finding.warning("ports", text, remedy)


def disk(home: Path) -> list[Finding]:
    """Check that there is room for the log and the versions."""
    place = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    return [room(free, place)]


def room(free: int, place: Path) -> Finding:
    """Judge a number of free bytes at some place."""
    text = f"{free / 2**30:.1f} GiB free at {place}"
    remedy = "free space, or set store.home to a larger disk"
    if free < NO_SPACE:
        return finding.problem("disk", text, remedy)
    return (
        finding.warning("disk", text, remedy) if free < LITTLE_SPACE else finding.ok("disk", text)
    )


def secret(tree: settings.Settings) -> list[Finding]:
    """Check that a server which others can reach has a routing key of its own."""
    default = settings.ServeSettings().routing_key_secret
    exposed = tree.serve.host not in {"127.0.0.1", "localhost", "::1"}
    if exposed and tree.serve.routing_key_secret == default:
        text = f"the server listens on {tree.serve.host} with the public default routing secret"
        remedy = "set COPPICE_SERVE__ROUTING_KEY_SECRET: clients could choose their own lane"
        return [finding.warning("secret", text, remedy)]
    return []
