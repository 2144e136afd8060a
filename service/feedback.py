"""Feedback: the true answers, stored beside the predictions that they judge.

A label is accepted once per request, and only for a request that was answered. Acknowledged means
committed. The event's id is made from the request id, so that of two workers that take the same
feedback at the same moment the log keeps one, and the other is told so.
"""

from __future__ import annotations

import asyncio
from concurrent import futures
from typing import Literal, NamedTuple

import msgspec

from coppice import artifact, clock, errors, labels, records
from coppice.eventlog import base
from service import lanes, outbox, router


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends: `label` for one row, `labels` for several."""

    request_id: str
    label: records.Label | None = None
    labels: list[records.Label] | None = None
    source: Literal["human", "system", "model-assisted"] = "system"
    annotator: str | None = None
    saw_prediction: bool = False


_DECODER = msgspec.json.Decoder(Message)


def decode(body: bytes) -> Message:
    """Read feedback.

    >>> decode(b'{"request_id": "r1", "label": "cat"}').label
    'cat'

    Raises
    ------
    RequestError
        It is not JSON, a field is missing, unknown or of the wrong type, or not exactly one of
        `label` and `labels` is given.
    """
    try:
        message = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        text = f"the body is not feedback: {cause}"
        raise errors.RequestError(text) from cause
    if (message.label is None) == (message.labels is None):
        text = "send either `label` (one row) or `labels` (a list, one for each row)"
        raise errors.RequestError(text)
    return message


def check(
    message: Message, prediction: records.Prediction, manifest: artifact.Manifest
) -> tuple[records.Label, ...]:
    """Return the labels, once they fit the prediction and the model.

    Raises
    ------
    RequestError
        There are not as many labels as rows, or one is none of this model's.
    """
    single = () if message.label is None else (message.label,)
    given = tuple(message.labels) if message.labels is not None else single
    rows = prediction.outputs["scores"].shape[0]
    if len(given) != rows:
        text = f"request {message.request_id!r} has {rows} rows, but {len(given)} labels were sent"
        raise errors.RequestError(text)
    labels.to_targets(given, manifest.task, manifest.classes)
    return given


class Parts(NamedTuple):
    """What the feedback door is put together from."""

    log: base.Finder
    outbox: outbox.Outbox
    switchboard: lanes.Switchboard
    clock: clock.Clock
    source: str
    secret: str


class Desk:
    """Takes feedback, on the event loop; looks up the log on a thread of its own.

    Parameters
    ----------
    parts
        The log, the outbox, and what is needed to check labels.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._taking: set[str] = set()
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="feedback")

    async def take(self, body: bytes) -> str:
        """Store feedback; it is committed when this returns the request id.

        Raises
        ------
        UnknownRequest
            No answered prediction goes by that request id.
        RepeatedFeedback
            It has its labels already.
        RequestError
            The message or a label is not valid.
        EventLogError
            It could not be stored, so it is not acknowledged.
        """
        message = decode(body)
        request_id = message.request_id
        if request_id in self._taking:
            raise errors.RepeatedFeedback
        self._taking.add(request_id)
        try:
            await self._take(message)
        finally:
            self._taking.discard(request_id)
        return request_id

    async def _take(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        prediction = await loop.run_in_executor(self._thread, self._find, message.request_id)
        given = check(message, prediction, self._manifest(prediction.version))
        event = self._seal(message, prediction.model, given)
        await self._parts.outbox.commit(event)
        stored = await loop.run_in_executor(
            self._thread, self._parts.log.find, message.request_id, records.Feedback
        )
        if stored and stored[0] != event:
            raise errors.RepeatedFeedback

    def _find(self, request_id: str) -> records.Prediction:
        log = self._parts.log
        found = [records.unseal(event) for event in log.find(request_id, records.Prediction)]
        answered = [p for p in found if isinstance(p, records.Prediction) and p.error is None]
        if not answered:
            message = (
                f"no prediction is stored under request id {request_id[:128]!r}; send the id "
                "from the answer's x-request-id header"
            )
            raise errors.UnknownRequest(message)
        if log.find(request_id, records.Feedback):
            raise errors.RepeatedFeedback
        return answered[-1]

    def _manifest(self, version: str) -> artifact.Manifest:
        in_force = self._parts.switchboard.in_force()
        loaded = {version.tag: version for version in in_force.loaded().values()}
        # A version that is gone had the same task and classes, or the champion would not fit.
        return loaded.get(version, in_force.champion).manifest

    def _seal(
        self, message: Message, model: str, given: tuple[records.Label, ...]
    ) -> records.Event:
        parts = self._parts
        now = parts.clock.now()
        annotator = message.annotator
        record = records.Feedback(
            request_id=message.request_id,
            model=model,
            labels=given,
            labelled_at=now,
            source=message.source,
            annotator_hash=router.key_hash(annotator, secret=parts.secret) if annotator else None,
            saw_prediction=message.saw_prediction,
        )
        event = records.seal(record, source=parts.source, now=now)
        return msgspec.structs.replace(event, id=event_id(message.request_id))

    def close(self) -> None:
        """End the look-up thread."""
        self._thread.shutdown(wait=True)


def event_id(request_id: str) -> str:
    """Return the id of the one feedback event that a request may have: a UUID, version 8.

    >>> event_id("r1")[14], event_id("r1") == event_id("r1")
    ('8', True)
    """
    return records.uuid8("feedback:" + request_id)
