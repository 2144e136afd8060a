"""What a request says about itself: its id, routing key, slices, and the lane it insists on.

Pure: headers and parameters in, a `Query` out. Everything that ends up in the log, in a header or
in a metric is bounded in count and length here, and its characters are checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from coppice import errors, records
from service import batcher

Headers: TypeAlias = Mapping[bytes, bytes]

MAX_SLICES = 8
MAX_KEY = 256

_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_SLICE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SLICE_VALUE = re.compile(r"[A-Za-z0-9_.:/+ -]{1,64}")


class Query(NamedTuple):
    """A request that may be routed: what it asks, and what it says about itself."""

    request_id: str
    key: str
    slices: dict[str, str]
    inputs: batcher.Inputs
    lane: str | None = None
    """The lane that the client insists on."""
    version: str | None = None
    """The version that the client insists on, by tag or id."""
    timeout: float | None = None
    """Seconds after which the client no longer wants the answer."""


class Claims(NamedTuple):
    """What the body says, where the headers are silent."""

    request_id: str | None = None
    key: Any = None
    slices: Any = None
    timeout: Any = None
    """Microseconds, as Triton's parameter of this name."""


def admit(
    headers: Headers, claims: Claims, inputs: batcher.Inputs, version: str | None = None
) -> Query:
    """Read and check what a request says about itself; headers win over the body.

    >>> query = admit({b"x-coppice-slices": b"pen=ink,site=a"}, Claims("r1"), {})
    >>> query.request_id, query.key, query.slices
    ('r1', 'r1', {'pen': 'ink', 'site': 'a'})

    Raises
    ------
    RequestError
        A value is too long, has characters that are not allowed, or is of the wrong type.
    """
    request_id = _text(headers.get(b"x-request-id")) or claims.request_id
    if not request_id:
        request_id = records.uuid7()
    elif _REQUEST_ID.fullmatch(request_id) is None:
        message = f"request id {request_id[:40]!r}: send 1 to 128 printable ASCII characters"
        raise errors.RequestError(message)
    header = headers.get(b"x-coppice-slices")
    # By place: keywords cost as much as half of the checks.
    return Query(
        request_id,
        _key(_text(headers.get(b"x-coppice-key")) or claims.key) or request_id,
        read_slices(claims.slices if header is None else _text(header)),
        inputs,
        _text(headers.get(b"x-coppice-lane")),
        version,
        _timeout(_text(headers.get(b"x-coppice-timeout")), claims.timeout),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _timeout(seconds: str | None, microseconds: Any) -> float | None:
    if seconds is None and microseconds is None:
        return None
    try:
        found = float(seconds) if seconds is not None else float(microseconds) / 1e6
    except (TypeError, ValueError):
        found = math.nan
    if not 0.0 < found < math.inf:
        said = f"{seconds!r} s" if seconds is not None else f"{microseconds!r} us"
        message = f"timeout {said[:40]}: x-coppice-timeout takes seconds, `timeout` microseconds"
        raise errors.RequestError(message)
    return found


def _key(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_KEY:
        message = f"routing key {str(value)[:40]!r}: send a text of 1 to {MAX_KEY} characters"
        raise errors.RequestError(message)
    return value


def read_slices(value: Any) -> dict[str, str]:
    """Read slices from `name=value,name=value`, or from an object of texts.

    >>> read_slices({"pen": "ink"})
    {'pen': 'ink'}

    Raises
    ------
    RequestError
        There are more than `MAX_SLICES`, or one has a name or value that is not allowed.
    """
    if not value:
        return {}
    if isinstance(value, str):
        pairs = [pair.partition("=")[::2] for pair in value[:4096].split(",")]
        found = {name.strip(): text.strip() for name, text in pairs}
    elif isinstance(value, dict):
        found = value
    else:
        message = "slices are `name=value,name=value` or an object of texts"
        raise errors.RequestError(message)
    if len(found) > MAX_SLICES:
        message = f"a request has at most {MAX_SLICES} slices, this one has {len(found)}"
        raise errors.RequestError(message)
    for name, text in found.items():
        _check_slice(name, text)
    return found


def _check_slice(name: Any, text: Any) -> None:
    if (
        not isinstance(name, str)
        or not isinstance(text, str)
        or _SLICE_NAME.fullmatch(name) is None
        or _SLICE_VALUE.fullmatch(text) is None
    ):
        message = (
            f"slice {str(name)[:40]!r}={str(text)[:40]!r}: names take 1 to 64 letters, digits, "
            "`_`, `.` and `-`; values also `:`, `/`, `+` and spaces"
        )
        raise errors.RequestError(message)
