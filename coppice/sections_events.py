"""The table `[events]` of `coppice.toml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coppice.sections import Section


class EventSettings(Section):
    """The event log."""

    backend: Literal["sqlite", "kafka", "memory"] = "sqlite"
    """`sqlite`: one file under the home folder, for one machine. `kafka`: files like it on every
    machine, joined by the cluster that `[kafka]` names. `memory`: lost at exit, for tests."""
    durability: Literal["process", "power-loss"] = "process"
    """`process` survives kill -9 (WAL, synchronous=NORMAL); `power-loss` a power cut too (FULL)."""
    capture: dict[str, Literal["store", "hash", "drop"]] = {}  # noqa: RUF012 - pydantic copies it
    """Per input field what is kept of it in the log; default `store` for tensors. A dropped input
    can neither be replayed for diagnosis nor retrained on."""
    retention_days: float | None = Field(default=None, gt=0)
    """Predictions, labels, shadow answers and measurements older than so many days are removed,
    once every reader has read them; decisions stay for ever. Nothing is removed by default, because
    what is gone can neither be retrained on nor audited."""
    retention_bytes: int | None = Field(default=None, ge=2**20)
    """Above so many bytes the oldest of the same events are removed, whatever their age. Set it
    well below `cap_bytes`. The file keeps its size and uses the room again."""
    cap_bytes: int | None = Field(default=None, ge=2**20)
    """Largest size of the log, bytes; by default what the disk holds. With a tenth of it left, or a
    tenth of what the log may still take of its disk, predictions are stored without their inputs
    (counted); when it is full, feedback is refused with 507, because a label that was acknowledged
    must not be lost."""
    when_full: Literal["refuse", "answer"] = "refuse"
    """What becomes of a prediction for which the log has no room: `refuse` it with 507, or `answer`
    it all the same (counted): the client is served, but the event is missing from every figure."""
