"""The document that says which versions play which parts, where several machines may write it."""

from __future__ import annotations

import msgspec

from coppice import errors
from coppice.registry import base

SCHEMA = 1


class State(msgspec.Struct, frozen=True):
    """The aliases of one name, and the move that made them so."""

    schema: int = SCHEMA
    move: str = ""
    """Random; by it a writer knows its own move again whose answer was lost."""
    aliases: dict[base.Alias, str] = {}


def encode(aliases: dict[base.Alias, str], move: str) -> bytes:
    """Write the document after a move.

    >>> encode({"champion": "a:1"}, "x")
    b'{"schema":1,"move":"x","aliases":{"champion":"a:1"}}'
    """
    return msgspec.json.encode(State(move=move, aliases=aliases))


def decode(content: bytes, where: str) -> State:
    """Read the document.

    Raises
    ------
    EnvironmentProblem
        It does not parse, or its schema is not known.
    """
    try:
        state = msgspec.json.decode(content, type=State)
    except msgspec.MsgspecError as cause:
        message = (
            f"{where} does not parse ({cause}); restore it, or "
            "remove it: `coppice prune` and `coppice up` set aliases anew"
        )
        raise errors.EnvironmentProblem(message) from cause
    if state.schema != SCHEMA:
        message = f"{where} has schema {state.schema}, this version reads {SCHEMA}; upgrade"
        raise errors.EnvironmentProblem(message)
    return state
