"""The folder layout that every registry of ours has: `<root>/<name>/<id>`, one artifact in each.

A version appears whole or not at all: it is put together in a staging folder of the same disk and
then renamed into its place.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from coppice import artifact, errors
from coppice.registry import base

_NAME = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")
_IDENTITY = re.compile(rf"[0-9a-f]{{{artifact.ID_LENGTH}}}")


class Catalogue(Protocol):
    """What a registry holds, as far as words for versions are looked up in it."""

    def holds(self, tag: str) -> bool:
        """Whether there is such a version, its tag being given in full."""
        ...

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        ...

    def names(self) -> list[str]:
        """Return the names that have versions."""
        ...


class Folders:
    """The catalogue of a folder in our layout."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def holds(self, tag: str) -> bool:
        """Whether there is such a version."""
        return (self._root / tag.replace(":", "/") / artifact.MANIFEST).is_file()

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        return tags(self._root, name)

    def names(self) -> list[str]:
        """Return the names that have versions."""
        return [path.name for path in self._root.glob("*") if path.is_dir()]


class Verifier:
    """Verifies versions that are used again and again, anew wherever a file was touched since.

    Digests of gigabytes take seconds, and a controller looks at a version twice a second; names,
    sizes, times and inodes of its files take microseconds.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, frozenset[tuple[str, int, int, int]]] = {}

    def check(self, folder: Path, tag: str) -> None:
        """Verify a version unless it is as it was when this was last done.

        Raises
        ------
        ArtifactError
            It is not whole, or not what the tag names.
        """
        now = _stamps(folder)
        if self._seen.get(folder) != now:
            artifact.verify(folder, tag)
            self._seen[folder] = now


def _stamps(folder: Path) -> frozenset[tuple[str, int, int, int]]:
    found = ((str(path), path.stat()) for path in folder.rglob("*"))
    return frozenset((name, at.st_size, at.st_mtime_ns, at.st_ino) for name, at in found)


def add(
    root: Path, staging: Path, folder: Path, finish: Callable[[Path, str], None] | None = None
) -> str:
    """Copy an artifact to its place and return its tag; a whole version that is there stays.

    Parameters
    ----------
    root, staging
        Where versions live, and where they are put together; both on one disk.
    folder
        The artifact.
    finish
        Called with the staged copy and its tag before the copy takes its place.

    Raises
    ------
    ArtifactError
        The folder is not a whole and unaltered artifact, or its name cannot be a tag's.
    """
    tag = checked_tag(folder)
    target = root / tag.replace(":", "/")
    if _is_whole(target, tag):
        artifact.verify(folder, tag)
        return tag
    staging.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=staging) as scratch:
        copy = Path(scratch) / "new"
        shutil.copytree(folder, copy)
        # The copy is what counts, so the copy is what is verified.
        artifact.verify(copy, tag)
        if finish is not None:
            finish(copy, tag)
        take_place(copy, target, aside=Path(scratch) / "old", tag=tag)
    return tag


def checked_tag(folder: Path) -> str:
    """Return the tag of an artifact that a registry can take.

    Raises
    ------
    ArtifactError
        The folder is no artifact, or its name cannot be a tag's.
    """
    tag = artifact.tag(folder)
    name = tag.rpartition(":")[0]
    if not is_name(name):
        message = f"{name!r} cannot name a version: use lower case, digits, `-`, `_` and `.`"
        raise errors.ArtifactError(message)
    return tag


def is_name(name: str) -> bool:
    """Whether a tag can hold that name.

    >>> is_name("vision"), is_name("../etc")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def is_full(tag: str) -> bool:
    """Whether a tag is whole: a name, and an id from its first digit to the last.

    >>> is_full("vision:0123456789ab"), is_full("vision:0123"), is_full("vision:champion")
    (True, False, False)
    """
    name, _, identity = tag.partition(":")
    return is_name(name) and _IDENTITY.fullmatch(identity) is not None


def _is_whole(target: Path, tag: str) -> bool:
    try:
        artifact.verify(target, tag)
    except errors.ArtifactError:
        return False
    return True


def take_place(copy: Path, target: Path, *, aside: Path, tag: str) -> None:
    """Rename a whole copy into its place; what is damaged there goes aside."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if target.exists():
            # What stands there is damaged: packing and adding again is how it is mended.
            target.rename(aside)
        copy.rename(target)
    except OSError:
        # Another process was faster; its copy is as good.
        if not _is_whole(target, tag):
            raise


def tags(root: Path, name: str) -> list[str]:
    """Return the tags of all versions of a name, newest first, damaged ones last."""
    folders = [path for path in (root / name).glob("*") if (path / artifact.MANIFEST).is_file()]
    made = {path.name: _created_at(path) for path in folders}
    return [f"{name}:{identity}" for identity in sorted(made, key=lambda i: (-made[i], i))]


def _created_at(folder: Path) -> float:
    try:
        return artifact.read_manifest(folder).created_at
    except errors.ArtifactError:
        return 0.0


def find(root: Path, tag: str, aliases: Mapping[base.Alias, str]) -> Path:
    """Return the folder of the version that a tag, an alias or an id's start names.

    Raises
    ------
    UnknownVersion
        No version, or more than one, goes by that tag.
    """
    return root / resolve(tag, aliases, Folders(root)).replace(":", "/")


ROLLED_OUT: frozenset[base.Alias] = frozenset({"champion", "previous", "candidate"})
"""Aliases that a rollout sets; `parent` is there as soon as something was pruned."""


def resolve(tag: str, aliases: Mapping[base.Alias, str], held: Catalogue) -> str:
    """Return the full tag of the version that a tag, an alias or an id's start names.

    Raises
    ------
    UnknownVersion
        No version, or more than one, goes by that tag.
    """
    wanted = tag.partition(":")[2]
    reference = next((full for alias, full in aliases.items() if alias == wanted), tag)
    name, _, wanted = reference.partition(":")
    if is_name(name) and wanted.isalnum():
        if held.holds(reference):
            return reference
        starts = [found for found in held.tags(name) if found.startswith(reference)]
        if len(starts) == 1:
            return starts[0]
        if starts:
            message = f"{tag!r} could be any of {', '.join(starts)}; give more of the id"
            raise errors.UnknownVersion(message)
    message = f"there is no version {tag!r} in the registry; {_nearest(tag, aliases, held)}"
    raise errors.UnknownVersion(message)


def _nearest(tag: str, aliases: Mapping[base.Alias, str], held: Catalogue) -> str:
    name = tag.partition(":")[0]
    names = held.names()
    if name not in names:
        known_names = ", ".join(sorted(names)) or "none yet"
        return f"known names: {known_names}; `coppice prune` makes a project's first version"
    known = [*held.tags(name), *(f"{name}:{alias}" for alias in sorted(aliases))]
    near = difflib.get_close_matches(tag, known, n=5, cutoff=0.0)
    hint = f"the nearest: {', '.join(near) or 'none yet'}"
    if tag.partition(":")[2] in ROLLED_OUT:
        return f"{hint}; that alias is set by a rollout (`coppice up`), name a version until then"
    return hint


def full_tags(
    name: str,
    wanted: Mapping[base.Alias, str | None],
    aliases: Mapping[base.Alias, str],
    held: Catalogue,
) -> dict[base.Alias, str | None]:
    """Look up every version that aliases are about to point at and return their full tags.

    Raises
    ------
    UnknownVersion
        One of them is not in the registry, or is a version of another name.
    """
    return {
        alias: None if tag is None else _of_name(resolve(tag, aliases, held), name)
        for alias, tag in wanted.items()
    }


def _of_name(tag: str, name: str) -> str:
    if tag.partition(":")[0] != name:
        message = f"{tag} is no version of {name}; point at one of those"
        raise errors.UnknownVersion(message)
    return tag


def moved(
    now: Mapping[base.Alias, str], wanted: Mapping[base.Alias, str | None]
) -> dict[base.Alias, str]:
    """Return the aliases after a move; `None` removes one.

    >>> moved({"candidate": "a:1"}, {"candidate": None, "champion": "a:1"})
    {'champion': 'a:1'}
    """
    after: dict[base.Alias, str | None] = {**now, **wanted}
    kept: dict[base.Alias, str] = {alias: tag for alias, tag in after.items() if tag is not None}
    return kept
