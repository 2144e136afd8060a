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

from coppice import artifact, errors
from coppice.registry import base

_NAME = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")


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
    tag = artifact.tag(folder)
    name, _, identity = tag.rpartition(":")
    if _NAME.fullmatch(name) is None:
        message = f"{name!r} cannot name a version: use lower case, digits, `-`, `_` and `.`"
        raise errors.ArtifactError(message)
    target = root / name / identity
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
        _take_place(copy, target, aside=Path(scratch) / "old", tag=tag)
    return tag


def _is_whole(target: Path, tag: str) -> bool:
    try:
        artifact.verify(target, tag)
    except errors.ArtifactError:
        return False
    return True


def _take_place(copy: Path, target: Path, *, aside: Path, tag: str) -> None:
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
    name, _, wanted = tag.partition(":")
    reference = next((full for alias, full in aliases.items() if alias == wanted), tag)
    name, _, wanted = reference.partition(":")
    exact = root / name / wanted
    if _NAME.fullmatch(name) and wanted.isalnum():
        if (exact / artifact.MANIFEST).is_file():
            return exact
        starts = [found for found in tags(root, name) if found.startswith(reference)]
        if len(starts) == 1:
            return root / starts[0].replace(":", "/")
        if starts:
            message = f"{tag!r} could be any of {', '.join(starts)}; give more of the id"
            raise errors.UnknownVersion(message)
    message = f"there is no version {tag!r} in the registry; {_nearest(root, tag, aliases)}"
    raise errors.UnknownVersion(message)


def _nearest(root: Path, tag: str, aliases: Mapping[base.Alias, str]) -> str:
    name = tag.partition(":")[0]
    names = [path.name for path in root.glob("*") if path.is_dir()]
    if name not in names:
        return f"known names: {', '.join(sorted(names)) or 'none yet'}"
    known = [*tags(root, name), *(f"{name}:{alias}" for alias in sorted(aliases))]
    near = difflib.get_close_matches(tag, known, n=5, cutoff=0.0)
    return f"the nearest: {', '.join(near) or 'none yet'}"


def full_tags(
    root: Path,
    name: str,
    wanted: Mapping[base.Alias, str | None],
    aliases: Mapping[base.Alias, str],
) -> dict[base.Alias, str | None]:
    """Look up every version that aliases are about to point at and return their full tags.

    Raises
    ------
    UnknownVersion
        One of them is not in the registry, or is a version of another name.
    """
    return {
        alias: None if tag is None else _full_tag(find(root, tag, aliases), name)
        for alias, tag in wanted.items()
    }


def _full_tag(path: Path, name: str) -> str:
    if path.parent.name != name:
        message = f"{path.parent.name}:{path.name} is no version of {name}; point at one of those"
        raise errors.UnknownVersion(message)
    return f"{name}:{path.name}"


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
