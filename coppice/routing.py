"""The routing table: which version answers, which is tried, and how much each sees.

It is the one thing that the router reads and the one thing that a rollout writes. The file is
replaced atomically, so a reader sees the old table or the new one and never half of either.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from coppice import errors

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


def load(path: Path) -> RoutingTable | None:
    """Read the table; `None` where there is none yet.

    Raises
    ------
    EnvironmentProblem
        The file is there but is not a routing table of a schema that this version knows.
    """
    try:
        table = msgspec.json.decode(path.read_bytes(), type=RoutingTable)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError) as cause:
        message = f"{path} is not a routing table ({cause}); remove it or restore it"
        raise errors.EnvironmentProblem(message) from cause
    if table.schema != SCHEMA:
        message = f"{path} has schema {table.schema}, this version reads {SCHEMA}; upgrade Coppice"
        raise errors.EnvironmentProblem(message)
    return table


def save(path: Path, table: RoutingTable) -> None:
    """Replace the table on disk in one atomic step, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(table)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
