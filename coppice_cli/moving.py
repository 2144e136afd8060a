"""Versions on their way between registries and machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coppice import artifact, errors, routing
from coppice_cli import versions

if TYPE_CHECKING:
    from coppice import settings
    from coppice.registry import base


class Pulled(NamedTuple):
    """A version on this machine, whole."""

    tag: str
    path: Path
    size: int
    """Bytes of all files."""


def routed(tree: settings.Settings) -> list[str]:
    """Name the versions that a server begins with, where its settings say it.

    Those that answer by the table that it is handed; `serve.initial` as long as there is none.
    Others of the table it can do without at the start, and they may be gone.

    Raises
    ------
    EnvironmentProblem
        What it is handed is no routing table.
    """
    handed = tree.serve.routing_file is not None
    table = routing.load_handed(tree.routing_path) if handed else None
    first = tree.serve.initial.replace("@", ":")
    named = (first,) if table is None else (table.champion, table.candidate)
    return [tag for tag in named if tag]


def pull(registry: base.Registry, name: str, wanted: Sequence[str]) -> Iterator[Pulled]:
    """Bring versions onto this machine, one after the other, each verified.

    Parameters
    ----------
    registry
        Where they come from.
    name
        The project's name, for words that do not say it.
    wanted
        Tags, aliases, or ids' starts; where there are none, every alias in use.

    Raises
    ------
    UnknownVersion
        There is no such version, or no alias is in use and none is named.
    ArtifactCorrupt
        One was altered.
    """
    words = wanted or sorted(set(registry.aliases(name).values()))
    if not words:
        message = f"no alias of {name} is in use; name the versions to pull"
        raise errors.UnknownVersion(message)
    for word in words:
        path = registry.path(word if ":" in word else f"{name}:{word}")
        tag = f"{artifact.read_manifest(path).name}:{path.name}"
        artifact.verify(path, tag)
        files = [each for each in path.rglob("*") if each.is_file()]
        yield Pulled(tag, path, sum(each.stat().st_size for each in files))


def push(
    source: base.Registry, target: base.Registry, name: str, wanted: Sequence[str]
) -> Iterator[str]:
    """Copy versions, each behind its dense parent, and name what is there afterwards.

    Raises
    ------
    UnknownVersion
        There is no such version in the source.
    ArtifactError
        One of them is not whole.
    """
    done: set[str] = set()
    for word in wanted:
        tag = versions.tag_of(source, name, word)
        parent = artifact.read_manifest(source.path(tag)).parent
        for each in (parent, tag):
            if each is not None and each not in done:
                yield target.add(source.path(each))
                done.add(each)
