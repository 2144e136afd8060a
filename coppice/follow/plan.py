"""What the follower decides, as pure functions: what is an event, and when the client is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coppice import errors, records
from coppice.eventlog import base, envelope


class Dead(NamedTuple):
    """A record that is no event, and why."""

    letter: envelope.Letter
    reason: str


class Sorted(NamedTuple):
    """What a batch of records holds, and how far it reaches."""

    events: list[records.Event]
    dead: list[Dead]
    consumed: base.Consumed


def sort(letters: Sequence[envelope.Letter]) -> Sorted:
    """Tell events from records that are none.

    An event must decode as the record that its type names. An event of a type that this version
    does not know is kept all the same: a newer Coppice wrote it, and this one is upgraded some day.
    """
    found = Sorted([], [], {})
    for letter in letters:
        try:
            event = envelope.event(letter.headers, letter.value)
            if event.type in records.TYPES:
                records.unseal(event)
        except errors.UndecodableEvent as problem:
            found.dead.append(Dead(letter, str(problem)))
        else:
            found.events.append(event)
        found.consumed[letter.topic, letter.partition] = letter.offset + 1
    return found


def lags(consumed: base.Consumed, ends: base.Consumed) -> dict[str, int]:
    """Return by topic how many records are still to be read.

    >>> lags({("a", 0): 3}, {("a", 0): 5, ("a", 1): 4, ("b", 0): 0})
    {'a': 6, 'b': 0}
    """
    found: dict[str, int] = {}
    for (topic, part), end in ends.items():
        behind = max(0, end - consumed.get((topic, part), 0))
        found[topic] = found.get(topic, 0) + behind
    return found


class Progress(NamedTuple):
    """When what last happened, on the monotonic clock."""

    heard: float
    """The brokers last said where their topics end."""
    moved: float
    """Records last came, or there was nothing more to read."""


def stuck(progress: Progress, now: float, deadline_seconds: float) -> str:
    """Say why the client is stuck although a broker takes connections, or nothing.

    >>> stuck(Progress(heard=0.0, moved=0.0), now=9.0, deadline_seconds=10.0)
    ''
    >>> stuck(Progress(heard=0.0, moved=0.0), now=11.0, deadline_seconds=10.0)
    'a broker takes connections, but none has answered for 11 s'
    """
    if now - progress.heard > deadline_seconds:
        return f"a broker takes connections, but none has answered for {now - progress.heard:.0f} s"
    if now - progress.moved > deadline_seconds:
        return f"there are records to read, but none has come for {now - progress.moved:.0f} s"
    return ""
