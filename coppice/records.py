"""The facts that cross a plane: immutable, versioned, and encoded the same way everywhere.

A *record* is what happened (a prediction, a label, a verdict); an *event* is a record sealed into
an envelope with the attributes of CloudEvents 1.0. The payload is MessagePack; tensors travel as
raw little-endian bytes beside their dtype and shape, so nothing is ever unpickled.

Adding a field with a default keeps old events readable. Anything else is a new version: a new
class, a new type name (`coppice.prediction.v2`), and a reader for both.

References
----------
CloudEvents 1.0.2, https://github.com/cloudevents/spec; UUID version 7: RFC 9562, section 5.7.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import time
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import errors, numbers

Label: TypeAlias = int | float | str
"""A class index, a class name, or a regression target."""

Lane: TypeAlias = Literal["stable", "canary"]
Role: TypeAlias = Literal["candidate", "champion", "parent"]
Stage: TypeAlias = Literal["idle", "shadow", "canary", "watch"]
VerdictKind: TypeAlias = Literal["healthy", "drift", "decay", "promote", "rollback", "undecided"]
Cause: TypeAlias = Literal["pruning", "release", "world", "undecided"]
Action: TypeAlias = Literal["promote", "abort", "pause", "resume"]


_BYTES_EACH = {numbers.BFLOAT16.name: numbers.BFLOAT16.itemsize} | {
    name: np.dtype(name).itemsize
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}


@functools.cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return a dtype's name, remembered: numpy puts it together anew each time it is asked.

    >>> dtype_name(np.dtype("<f4"))
    'float32'
    """
    return dtype.name


@functools.cache
def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def little_endian(array: npt.NDArray[Any]) -> bytes:
    """Return an array's bytes as they travel: little-endian, in C order.

    >>> list(little_endian(np.array([1, 2], dtype=">i2")))
    [1, 0, 2, 0]
    """
    little = _little(array.dtype)
    return (array if array.dtype == little else array.astype(little)).tobytes()


class Tensor(msgspec.Struct, frozen=True):
    """An array as it travels: numpy dtype name, shape, little-endian C-order bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        """Refuse bytes that are not what dtype and shape promise.

        Raises
        ------
        ValueError
            They are not; while decoding an event that makes it an `UndecodableEvent`.
        """
        bytes_each = _BYTES_EACH.get(self.dtype)
        if bytes_each is None:
            message = f"tensor of dtype {self.dtype!r}; known: {', '.join(_BYTES_EACH)}"
            raise ValueError(message)
        negative = self.shape and min(self.shape) < 0
        if negative or math.prod(self.shape) * bytes_each != len(self.data):
            message = f"{len(self.data)} bytes are no tensor {self.dtype}{list(self.shape)}"
            raise ValueError(message)

    @classmethod
    def of(cls, array: npt.NDArray[np.generic]) -> Tensor:
        """Pack an array (numbers or booleans of any shape).

        >>> Tensor.of(np.array([[1, 2]], dtype=np.int64)).array().tolist()
        [[1, 2]]
        """
        return cls(dtype_name(array.dtype), array.shape, little_endian(array))

    def array(self) -> npt.NDArray[np.generic]:
        """Return a read-only array that shares this tensor's bytes."""
        dtype = np.dtype(self.dtype).newbyteorder("<")
        return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answered (or failed) request, of one or more rows; all tensors have the rows first."""

    request_id: str
    model: str
    version: str
    lane: Lane
    propensity: float
    """Probability with which the router chooses this lane for a random routing key."""
    key_hash: str
    """Keyed hash of the routing key; the key itself is never stored."""
    slices: dict[str, str] = {}
    inputs: dict[str, Tensor] = {}
    """By capture policy; empty where every field is dropped."""
    features: Tensor | None = None
    """Monitoring features, float32 [rows, at most 32]; names are in the artifact's manifest."""
    outputs: dict[str, Tensor] = {}
    latency_seconds: float
    generation: int = 0
    """Generation of the routing table that chose the lane."""
    error: str | None = None
    fallback: str | None = None
    """Why the candidate did not answer, where the stable lane answered in its place."""
    fallback_version: str | None = None


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """The true answer to an earlier request: one label for each of its rows."""

    request_id: str
    model: str
    labels: tuple[Label, ...]
    labelled_at: float
    source: Literal["human", "system", "model-assisted"] = "system"
    annotator_hash: str | None = None
    saw_prediction: bool = False


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """What another version would have answered to the same request; never returned to a client."""

    request_id: str
    model: str
    version: str
    role: Role
    against: str
    """The version whose answer the client got."""
    outputs: dict[str, Tensor] = {}
    agrees: tuple[bool, ...] = ()
    """For each row: would a client see the same class, or about the same value? See
    `labels.differ`."""
    latency_seconds: float = 0.0
    error: str | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One number that the monitor measured over a window of one version."""

    model: str
    version: str
    name: str
    value: float
    slice: str = "all"
    count: int = 0
    """How many predictions or labelled pairs the value rests on."""
    low: float | None = None
    high: float | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor concludes, with the evidence for it.

    `scope` says about whom: a `candidate` is promoted, rolled back or still undecided; a `champion`
    is healthy, drifting, decaying or undecided. `cause` belongs to `decay` alone.
    """

    model: str
    version: str
    scope: Literal["candidate", "champion"]
    kind: VerdictKind
    reason: str
    cause: Cause | None = None
    against: str | None = None
    """The version it was compared with; for `decay`, the previous champion where it is shown to do
    better, so that rolling back to it helps at once."""
    slice: str = "all"
    evidence: dict[str, float] = {}
    counts: dict[str, int] = {}
    label_coverage: float = 0.0
    """Share of the pairs or predictions considered whose truth is known (or needs no label)."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A version that came out of retraining or `coppice prune`, with what its gates said."""

    model: str
    version: str
    parent: str
    status: Literal["accepted", "forced", "refused"]
    reason: str
    """Why it was made: `manual`, or the cause of the decay that it answers."""
    refusals: tuple[str, ...] = ()
    figures: dict[str, float] = {}


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the learning plane: started, finished with a candidate, held back, or failed."""

    model: str
    status: Literal["started", "finished", "held", "failed"]
    cause: Cause | Literal["manual"]
    reason: str
    trigger: str | None = None
    """Id of the verdict event that asked for it."""
    version: str | None = None


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of a rollout after a step, so that the latest event is the state."""

    model: str
    stage: Stage
    champion: str
    candidate: str | None = None
    previous: str | None = None
    weight: float = 0.0
    step: int = 0
    generation: int = 0
    paused: bool = False
    outcome: Literal[
        "started",
        "advanced",
        "promoted",
        "rolled-back",
        "settled",
        "paused",
        "resumed",
        "refused",
        "repaired",
    ]
    """`refused`: a command that did not fit changed nothing. `repaired`: the routing table was not
    what this state asks for, and was written again."""
    reason: str
    actor: str = "coppice"
    since: float = 0.0
    """When this stage began, seconds since 1970 UTC."""
    trigger: str | None = None
    """Id of the event that this step answers: a candidate, a verdict or a command."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's wish for the running rollout."""

    model: str
    action: Action
    actor: str
    reason: str = ""


Record: TypeAlias = (
    Prediction
    | Feedback
    | Shadow
    | Measurement
    | Verdict
    | Candidate
    | Retraining
    | Rollout
    | Command
)

TYPES: dict[str, type[Record]] = {
    "coppice.prediction.v1": Prediction,
    "coppice.feedback.v1": Feedback,
    "coppice.shadow.v1": Shadow,
    "coppice.measurement.v1": Measurement,
    "coppice.verdict.v1": Verdict,
    "coppice.candidate.v1": Candidate,
    "coppice.retraining.v1": Retraining,
    "coppice.rollout.v1": Rollout,
    "coppice.command.v1": Command,
}
NAMES: dict[type[Record], str] = {kind: name for name, kind in TYPES.items()}

_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {name: msgspec.msgpack.Decoder(kind) for name, kind in TYPES.items()}


class Event(msgspec.Struct, frozen=True):
    """An envelope with the attributes of CloudEvents 1.0 and a MessagePack payload.

    `subject` is the request id for predictions, feedback and shadows, and the version else.
    """

    id: str
    type: str
    source: str
    time: float
    subject: str
    model: str
    data: bytes


def seal(record: Record, *, source: str, now: float) -> Event:
    """Put a record into a fresh envelope."""
    subject = getattr(record, "request_id", None) or getattr(record, "version", None)
    return Event(
        id=uuid7(),
        type=NAMES[type(record)],
        source=source,
        time=now,
        subject=subject or record.model,
        model=record.model,
        data=_ENCODER.encode(record),
    )


def unseal(event: Event) -> Record:
    """Take the record out of its envelope.

    Raises
    ------
    UndecodableEvent
        The type is unknown, or the payload is not what the type promises.
    """
    decoder = _DECODERS.get(event.type)
    if decoder is None:
        known = ", ".join(sorted(TYPES))
        message = f"event {event.id} has the unknown type {event.type!r}; known types: {known}"
        raise errors.UndecodableEvent(message)
    try:
        record: Record = decoder.decode(event.data)
    except msgspec.MsgspecError as cause:
        message = f"event {event.id} ({event.type}) does not decode: {cause}"
        raise errors.UndecodableEvent(message) from cause
    return record


def uuid7() -> str:
    """Return a new UUID version 7: sorted by time, 74 bits of it random (RFC 9562).

    >>> uuid7()[14]
    '7'
    """
    # Put together as text, in half the time that it takes by way of one long number.
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(10)
    digits, variant = noise.hex(), "89ab"[noise[9] & 3]
    return (
        f"{milliseconds[:8]}-{milliseconds[8:]}-7{digits[:3]}-{variant}{digits[3:6]}-{digits[6:18]}"
    )


def uuid8(text: str) -> str:
    """Return the UUID version 8 that a text always gets: 122 bits of its BLAKE2b (RFC 9562).

    >>> uuid8("r1")[14], uuid8("r1") == uuid8("r1")
    ('8', True)
    """
    value = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return _uuid(value & ~(0b11 << 62) | 0b10 << 62)


def _uuid(value: int) -> str:
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
