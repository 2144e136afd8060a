"""The routing table: which version answers, which is tried, and how much each sees.

It is the one thing that the router reads and the one thing that a rollout writes. The file is
replaced atomically, so a reader sees the old table or the new one and never half of either.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from coppice import errors, files

SCHEMA = 1


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """Versions are tags `name:id`; rates and weights are shares in [0, 1].

    Raises
    ------
    ValueError
        A share lies outside [0, 1], or a weight is given without a candidate.
    """

    schema: int = SCHEMA
    generation: int = 0
    """Grows by one with each write; a reader ignores a table older than the one it has."""
    model: str
    champion: str
    candidate: str | None = None
    previous: str | None = None
    parent: str | None = None
    """The champion's dense parent, which sees a sample of the traffic as a shadow."""
    weight: float = 0.0
    """Share of the routing keys that the candidate answers."""
    mirror: float = 0.0
    """Share of the requests that the other version of the pair sees too, as a shadow."""
    parent_mirror: float = 0.0
    """Share of the requests that the dense parent sees too, as a shadow."""

    def __post_init__(self) -> None:
        """Refuse a table that cannot be routed by."""
        for field in ("weight", "mirror", "parent_mirror"):
            share = getattr(self, field)
            if not 0.0 <= share <= 1.0:
                message = f"routing table: {field} is {share}, but a share lies in [0, 1]"
                raise ValueError(message)
        if self.candidate is None and self.weight > 0.0:
            message = f"routing table: weight {self.weight} is given, but there is no candidate"
            raise ValueError(message)


class _Schema(msgspec.Struct):
    """Read first: a table of another schema may have other fields."""

    schema: int = SCHEMA


def load(path: Path) -> RoutingTable | None:
    """Read the table; `None` where there is none yet.

    Raises
    ------
    EnvironmentProblem
        The file is there but is not a routing table of a schema that this version knows.
    """
    try:
        content = path.read_bytes()
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            message = f"{path} has schema {schema}, this version reads {SCHEMA}; upgrade Coppice"
            raise errors.EnvironmentProblem(message)
        return msgspec.json.decode(content, type=RoutingTable)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as cause:
        message = f"{path} is not a routing table ({cause}); remove it or restore it"
        raise errors.EnvironmentProblem(message) from cause


def load_handed(path: Path) -> RoutingTable | None:
    """Read a table that somebody hands us, as a cluster does; raises like `load`.

    An annotation that is not there yet comes as an empty file, which we never write ourselves.
    """
    if path.exists() and not path.read_bytes().strip():
        return None
    return load(path)


def save(path: Path, table: RoutingTable) -> None:
    """Replace the table on disk in one atomic step, durably."""
    files.replace(path, msgspec.json.format(msgspec.json.encode(table)) + b"\n")
