"""Coppice with a part of it left out, named by BENCH_WITHOUT: `log` or `metrics`.

Only here: a server that stores nothing, or that cannot be observed, is nothing to offer a user.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from coppice import eventlog, records
from coppice.eventlog import memory
from service import app, recorder


class Forgetful(memory.MemoryLog):
    """A log that keeps nothing."""

    def append(self, events: Sequence[records.Event]) -> None:
        del events


class Blind:
    """A recorder that counts nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


def _nothing(*values: Any, **fields: Any) -> None:
    del values, fields


if os.environ["BENCH_WITHOUT"] == "log":
    eventlog.open_outbox = lambda tree: Forgetful()  # noqa: ARG005
else:
    recorder.Recorder = Blind  # type: ignore[assignment, misc]

Coppice = app.Coppice
