"""What a label means, and which requests need one: pure rules that several planes share.

Every answer gets a *score* in [0, 1]: 1 for a right class and 0 for a wrong one; for regression
1 minus the absolute error over a stated scale, clipped. The paired outcome of two answers to one
request is the difference of their scores, in [-1, 1].
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import errors, records

Task: TypeAlias = Literal["binary", "multiclass", "regression"]

_LARGEST = float(np.finfo(np.float64).max)

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

DISTANT = 0.1
"""Share of the scale beyond which two answers of a regression differ. Two models hardly ever give
the same number, so equality would say nothing of how alike they answer."""


def unit_interval(key: str, *parts: str) -> float:
    """Map strings to a number in [0, 1), uniformly and repeatably, with a key (BLAKE2b).

    The same parts give the same number in every process; without the key it cannot be foreseen.

    >>> round(unit_interval("secret", "request-1"), 6) == round(
    ...     unit_interval("secret", "request-1"), 6)
    True
    """
    digest = _keyed(key).copy()
    for part in parts:
        # Clients may send half of a surrogate pair, which plain UTF-8 refuses.
        digest.update(len(part).to_bytes(4, "little") + part.encode("utf-8", "surrogatepass"))
    # 53 bits are what a float holds; all 64 could round up to 1.
    return (int.from_bytes(digest.digest(), "little") >> 11) / 2**53


@functools.lru_cache(maxsize=8)
def _keyed(key: str) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=8, key=key.encode()[:64])


def audited(key: str, candidate: str, request_id: str, rate: float) -> bool:
    """Say whether a request is in the audit sample of a candidate: fixed before any answer."""
    return unit_interval(key, "audit", candidate, request_id) < rate


def to_targets(values: Sequence[records.Label], task: Task, classes: Sequence[str]) -> Floats:
    """Turn labels as people write them (index, class name, number) into float64 targets.

    >>> to_targets(["cat", 0], "binary", ["dog", "cat"]).tolist()
    [1.0, 0.0]

    Raises
    ------
    RequestError
        A label is no class of this model, or is not a finite number for a regression.
    """
    return np.array([_to_target(value, task, classes) for value in values], dtype=np.float64)


def _to_target(value: records.Label, task: Task, classes: Sequence[str]) -> float:
    if task == "regression":
        # A comparison, because a whole number too large for a float cannot be converted.
        if isinstance(value, str) or not -_LARGEST <= value <= _LARGEST:
            message = f"label {_short(value)} is not a finite number, which a regression needs"
            raise errors.RequestError(message)
        return float(value)
    if isinstance(value, str) and value in classes:
        return float(classes.index(value))
    if not isinstance(value, str) and 0 <= value < len(classes) and value == int(value):
        return float(value)
    message = (
        f"label {_short(value)} is no class of this model: send an index below {len(classes)} "
        f"or one of {list(classes)[:20]}"
    )
    raise errors.RequestError(message)


def _short(value: records.Label) -> str:
    """Write a label as a client sent it, cut where it is too long for a message."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "of hundreds of digits"
    return repr(value)[:80]


def scores(answers: Floats, targets: Floats, *, task: Task, scale: float = 1.0) -> Floats:
    """Score answers against targets, row by row.

    Parameters
    ----------
    answers
        Class probabilities [rows, classes], or regression values [rows].
    targets
        From `to_targets` [rows].
    scale
        For regression: the absolute error that counts as wholly wrong.

    Examples
    --------
    >>> scores(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.0, 1.0]), task="binary").tolist()
    [1.0, 0.0]
    >>> scores(np.array([3.0]), np.array([4.0]), task="regression", scale=4.0).tolist()
    [0.75]
    """
    if task == "regression":
        return np.asarray(1.0 - np.minimum(np.abs(answers - targets) / scale, 1.0))
    return np.asarray(answers.argmax(axis=1) == targets, dtype=np.float64)


def divergence(first: Floats, second: Floats, *, task: Task, scale: float = 1.0) -> Floats:
    """Bound the difference of two answers' scores whatever the truth, row by row, in [0, 1].

    For classes it is 0 where both answers name the same class and 1 where they do not. For
    regression the triangle inequality bounds it by the answers' distance over the scale. Where it
    is 0 the pair is a tie and needs no label.

    >>> divergence(np.array([2.0]), np.array([3.0]), task="regression", scale=4.0).tolist()
    [0.25]
    """
    if task == "regression":
        return np.asarray(np.minimum(np.abs(first - second) / scale, 1.0))
    return np.asarray(first.argmax(axis=1) != second.argmax(axis=1), dtype=np.float64)


def tolerance(task: Task) -> float:
    """Return the largest divergence of two answers that still agree.

    >>> tolerance("binary"), tolerance("regression")
    (0.0, 0.1)
    """
    return DISTANT if task == "regression" else 0.0


def differ(
    first: Floats, second: Floats, *, task: Task, scale: float = 1.0
) -> npt.NDArray[np.bool_]:
    """Say where two answers differ, bool [rows]: name another class, or lie far apart.

    This is what is counted and shown. What is decided rests on `divergence` itself, which knows no
    tolerance: a regression's pair is a tie only where both answers are the same.

    >>> differ(np.array([2.0, 2.0]), np.array([2.2, 3.0]), task="regression", scale=4.0).tolist()
    [False, True]
    """
    apart = divergence(first, second, task=task, scale=scale)
    return np.asarray(apart > tolerance(task))
