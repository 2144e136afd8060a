"""What one event tells once its tensors are read and its request is joined: small plain values.

A fact says everything that the rest of the monitor needs of an event and no more: answers as one
number per row, the scores of labelled answers, at most 32 features. It is what members of a group
hand to the one that judges, so it has a wire form: batches of MessagePack, compressed, because
request ids, versions and slices repeat.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from coppice import errors, records
from monitoring import join

LEVEL = 1
"""Of zlib: a third of the bytes for a few microseconds a fact; higher ones gain little."""


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="a"):
    """A prediction: some version answered, or failed to."""

    version: str
    lane: records.Lane
    rows: int
    """Rows that it answered; 0 where there is nothing to be joined."""
    failed: bool
    slices: tuple[str, ...]
    """All that the request belongs to, as `name=value`."""
    features: records.Tensor | None
    latency_seconds: float
    fell_back: bool
    """Whether the stable version answered in the candidate's place."""
    candidate: str | None
    """The version that did not answer then, where the event tells."""
    draw: float | None
    """Its place in the sample for live accuracy; `None` where it is no part of it."""


class Mirrored(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="m"):
    """A shadow: what another version would have answered."""

    version: str
    against: str
    role: records.Role
    rows: int
    failed: bool
    agrees: tuple[bool, ...]


class Labelled(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="l"):
    """A first label."""

    version: str | None
    """Whose answer the client got; `None` where the join does not know (any more)."""
    stray: tuple[records.Label, ...]
    """The labels as they came, where the join does not know the request."""


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="t"):
    """An event about no request: a step of a rollout, or a verdict."""

    event: records.Event


What: TypeAlias = Answered | Mirrored | Labelled | Told


class Fact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one event tells, and what became known of its request by it."""

    time: float
    """Of the event, seconds since 1970 UTC."""
    subject: str
    """The request; for what is about none, the version."""
    what: What
    seen_at: float = 0.0
    """Time of the first event about the request."""
    paired: tuple[join.Paired, ...] = ()
    scored: tuple[join.Scored, ...] = ()
    compared: tuple[join.Compared, ...] = ()
    """The request's pairs so far; told where an answer is scored."""

    def kind(self) -> str:
        """Return the type of the event behind it."""
        match self.what:
            case Answered():
                return records.NAMES[records.Prediction]
            case Mirrored():
                return records.NAMES[records.Shadow]
            case Labelled():
                return records.NAMES[records.Feedback]
            case Told(event):
                return event.type


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Fact, ...])


def encode(found: Sequence[Fact]) -> bytes:
    """Put facts into bytes.

    >>> fact = Fact(1.0, "r", Labelled(None, ("yes",)))
    >>> decode(encode([fact])) == (fact,)
    True
    """
    return zlib.compress(_ENCODER.encode(found), LEVEL)


def decode(data: bytes) -> tuple[Fact, ...]:
    """Take facts out of bytes.

    Raises
    ------
    UndecodableEvent
        They are no facts of this version.
    """
    try:
        return _DECODER.decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError) as cause:
        message = f"a batch holds no facts that can be read: {cause}"
        raise errors.UndecodableEvent(message) from cause
