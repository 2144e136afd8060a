"""The registry as its users see it: immutable versions by tag `name:id`, and movable aliases.

A version's id is the digest of its manifest, so adding the same artifact twice gives the same tag
and an edited artifact cannot keep its name. Memory and BentoML implementations pass one conformance
suite (`tests/integration/test_registry_conformance.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

Alias: TypeAlias = Literal["champion", "previous", "candidate", "parent"]


class Registry(Protocol):
    """Keep artifacts by tag and say which of them plays which part."""

    def add(self, folder: Path) -> str:
        """Copy a verified artifact folder into the registry and return its tag `name:id`.

        Raises
        ------
        ArtifactError
            The folder is not a whole and unaltered artifact.
        """
        ...

    def path(self, tag: str) -> Path:
        """Return the folder of a version, given its tag, `name:alias`, or `name:` + an id's start.

        Raises
        ------
        UnknownVersion
            No version, or more than one, goes by that tag; the message lists the nearest.
        """
        ...

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        ...

    def aliases(self, name: str) -> Mapping[Alias, str]:
        """Return the tag that each alias in use points at."""
        ...

    def point(self, name: str, aliases: Mapping[Alias, str | None]) -> None:
        """Move several aliases in one atomic step; `None` removes one.

        Raises
        ------
        UnknownVersion
            An alias would point at a version that is not in the registry.
        """
        ...
