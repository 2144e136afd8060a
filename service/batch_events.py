"""Offline answers in the event log, under a name of their own.

An offline answer is a prediction, but nobody routed it: no lane was drawn and no client waits. If
it counted as one of the model's own, a night's scoring of an old file would look like a drift of
live traffic, fill windows and ask labellers for labels. So its events carry the model's name with
`.offline` behind it, which no project can have. Every reader passes over events of other models
before it looks at them, so nothing judges these, rolls anything back or retrains for them.

The ids of events follow from the job and the row, so a job that is resumed adds nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from coppice import clock, errors, records, runtime, settings
from coppice.eventlog import base
from service import batch_rows, capture

SUFFIX = ".offline"
SOURCE = "coppice/score"
RESERVE = 0.1
"""Share of the log's room that is left to live traffic."""


class Batch(NamedTuple):
    """Rows that were answered together."""

    first: int
    """The first of them, by its number in the input."""
    inputs: Mapping[str, batch_rows.Array]
    answers: runtime.Answers
    seconds: float


class Log(base.EventLog, base.Bounded, Protocol):
    """A log that says how much room it has."""


def offline(model: str) -> str:
    """Return the name under which a model's offline answers are logged.

    >>> offline("fraud")
    'fraud.offline'
    """
    return f"{model}{SUFFIX}"


class Ledger:
    """Writes batches of a job into the log.

    Parameters
    ----------
    log
        Where to.
    tree
        Says what of the inputs is kept.
    job
        The job's id.
    version
        Who answers.
    """

    def __init__(self, log: Log, tree: settings.Settings, *, job: str, version: str) -> None:
        self._log = log
        self._policy = tree.events.capture
        self._secret = tree.serve.routing_key_secret.get_secret_value()
        self._model = offline(tree.project.name)
        self._cap = tree.events.cap_bytes
        self._job, self._version = job, version
        self._clock = clock.SystemClock()

    def write(self, batches: Sequence[Batch]) -> None:
        """Commit the answers of some batches; what is there already stays as it is.

        Raises
        ------
        LogFull
            The log's room would be taken but for the rest, which is for live traffic.
        """
        now = self._clock.now()
        events = [self._event(batch, now) for batch in batches]
        taken = sum(len(event.data) for event in events) / self._cap if self._cap else 0.0
        if self._log.room() - taken < RESERVE:
            message = (
                f"this would leave less than {RESERVE:.0%} of events.cap_bytes, or of the disk, "
                "which live traffic needs; make room and run the same command again, or leave "
                "--log away"
            )
            raise errors.LogFull(message)
        self._log.append(events)

    def _event(self, batch: Batch, now: float) -> records.Event:
        request_id = f"{self._job}-{batch.first}"
        features = batch.answers.features
        record = records.Prediction(
            request_id=request_id,
            model=self._model,
            version=self._version,
            lane="stable",  # the vocabulary has no other word; under this model it means nothing
            propensity=1.0,
            key_hash="",
            inputs=capture.capture(batch.inputs, self._policy, secret=self._secret),
            features=records.Tensor.of(features) if features.size else None,
            outputs={runtime.SCORES: records.Tensor.of(batch.answers.scores)},
            latency_seconds=batch.seconds,
        )
        event = records.seal(record, source=SOURCE, now=now)
        return msgspec.structs.replace(event, id=records.uuid8(request_id))
