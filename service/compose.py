"""The data plane, put together: log, registry, lanes, outbox, engine, feedback.

Opened inside a worker process on its event loop, closed when that process drains.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from coppice import clock, eventlog, registry, settings
from service import batcher, engine, feedback, intake, lanes, outbox, recorder, versions

if TYPE_CHECKING:
    from coppice.eventlog.memory import MemoryLog
    from coppice.eventlog.sqlite import SqliteLog

_LOG = structlog.get_logger()

DRAIN_SECONDS = 20.0


class Ways(NamedTuple):
    """How those parts are made that an observer may stand around."""

    engine: Callable[[engine.Parts], engine.Engine] = engine.Engine
    observe: Callable[[batcher.Predict], batcher.Predict] = versions.as_it_is
    """Put around each version's model."""


PLAIN = Ways()


class Plane:
    """Everything that answers, in one worker process.

    Parameters
    ----------
    tree
        The settings.
    loop
        The worker's event loop.
    metrics
        The worker's recorder.
    ways
        How the parts are made.

    Raises
    ------
    EventLogError
        The log cannot be opened.
    """

    def __init__(
        self,
        tree: settings.Settings,
        *,
        loop: asyncio.AbstractEventLoop,
        metrics: recorder.Recorder,
        ways: Ways = PLAIN,
    ) -> None:
        self.tree = tree
        self.metrics = metrics
        metrics.gather(loop)
        self.log: SqliteLog | MemoryLog = eventlog.open_outbox(tree)
        self.index = eventlog.open_index(tree, self.log)
        time = clock.SystemClock()
        store = registry.open_registry(tree)
        serve = tree.serve
        limits = batcher.Limits(serve.max_batch_rows, serve.max_queue)
        loader = versions.Loader(
            store,
            limits=limits,
            threads=serve.model_threads,
            loop=loop,
            metrics=metrics,
            observe=ways.observe,
        )
        self.intake = intake.Intake(serve, loop)
        self.switchboard = lanes.Switchboard(
            tree, registry=store, load=loader, loop=loop, metrics=metrics, time=time
        )
        self.outbox = outbox.Outbox(
            self.log,
            loop=loop,
            metrics=metrics,
            time=time,
            limit=4 * serve.max_queue,
            answer_when_full=tree.events.when_full == "answer",
        )
        source = f"coppice/service/{os.getpid()}-{secrets.token_hex(4)}"
        self.engine = ways.engine(
            engine.Parts(
                tree, self.switchboard, self.outbox, metrics, clock=time, loop=loop, source=source
            )
        )
        secret = serve.routing_key_secret.get_secret_value()
        self.feedback = feedback.Desk(
            feedback.Parts(self.index, self.outbox, self.switchboard, time, source, secret)
        )
        self.switchboard.start()

    @property
    def ready(self) -> bool:
        """Whether requests are answered: a champion is in memory and the log is written."""
        return self.switchboard.lanes is not None and self.outbox.alive

    def close(self) -> None:
        """Commit all that was acknowledged or will be, then let go of everything."""
        self.switchboard.close()
        self.engine.close()
        self.feedback.close()
        self.outbox.close(DRAIN_SECONDS)
        self.metrics.flush()
        self.index.close()
        self.log.close()
        _LOG.info("drained")
