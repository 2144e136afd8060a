"""Checkpoints: the monitor's state on disk, so that a restart need not read the whole log again.

One file, replaced atomically: the state, the position in the log behind the last event in it, and a
fingerprint of what the state depends on besides the events. A checkpoint of another log, of other
settings, or of an older Coppice is not used; the state is then folded anew from the start of the
log, which gives the same. It holds no inputs and no secrets.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec
import structlog

from coppice import errors, settings
from coppice.eventlog import base as eventlog_base
from monitoring.state import State

SCHEMA = 3
"""Grows whenever `State` changes its shape or its meaning."""

_log = structlog.get_logger(__name__)


class Checkpoint(msgspec.Struct, frozen=True):
    """A state and the position behind the last event that is in it."""

    schema: int
    fingerprint: str
    position: eventlog_base.Position
    state: State


def fingerprint(log: eventlog_base.EventLog, tree: settings.Settings) -> str:
    """Identify the log by its first event, and the settings that the state depends on."""
    first = log.read(eventlog_base.START, limit=1).events
    return _digest(first[0].id if first else "", tree)


def group_fingerprint(tree: settings.Settings, partitions: int) -> str:
    """Identify the topics of a group, and the settings that its state depends on."""
    return _digest(f"{tree.monitor.group} {tree.kafka.prefix} {partitions}", tree)


def _digest(log: str, tree: settings.Settings) -> str:
    parts = [
        log,
        tree.project.model_dump_json(),
        tree.evidence.model_dump_json(),
        tree.drift.model_dump_json(),
        tree.decay.model_dump_json(),
        # Members of a group have doors of their own, and may reach the folder by another path.
        tree.monitor.model_dump_json(exclude={"host", "port", "group_folder"}),
        tree.serve.routing_key_secret.get_secret_value(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def path(tree: settings.Settings) -> Path:
    """Return where the checkpoint of a project lies."""
    return tree.home / "monitor" / "state.msgpack"


def group_folder(tree: settings.Settings) -> Path:
    """Return where the members of a group leave what the next owner needs."""
    chosen = tree.monitor.group_folder
    return tree.root / chosen if chosen is not None else tree.home / "monitor" / "group"


def save(target: Path, checkpoint: Checkpoint) -> None:
    """Replace the file in one atomic step; a reader sees the old or the new one.

    Raises
    ------
    EnvironmentProblem
        The file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(msgspec.msgpack.encode(checkpoint))
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as cause:
        message = f"the monitor's checkpoint {target} cannot be written: {cause}; make room"
        raise errors.EnvironmentProblem(message) from cause


def load(source: Path, expected: str) -> Checkpoint | None:
    """Read a checkpoint; `None` where there is none that can be used.

    Parameters
    ----------
    source
        The file.
    expected
        The fingerprint that it must have.
    """
    try:
        found = msgspec.msgpack.decode(source.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as cause:
        _log.warning("checkpoint_unreadable", path=str(source), reason=str(cause))
        return None
    if found.schema != SCHEMA or found.fingerprint != expected:
        _log.info("checkpoint_not_used", path=str(source))
        return None
    return found
