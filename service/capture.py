"""What is kept of a request's inputs in the log: stored, hashed, or dropped, field by field.

Tensors of numbers are stored unless the settings say otherwise: without them a decay can neither be
diagnosed by replay nor retrained on. Texts are dropped unless the settings ask for their hashes;
they are never stored as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import records
from service import tensors

Policy: TypeAlias = Mapping[str, Literal["store", "hash", "drop"]]

HASH_BYTES = 16


def capture(
    inputs: Mapping[str, tensors.Array], policy: Policy, *, secret: str
) -> dict[str, records.Tensor]:
    """Return what the log keeps of the inputs.

    >>> kept = capture({"x": np.zeros((2, 3)), "y": np.ones(2)}, {"y": "drop"}, secret="s")
    >>> [(name, tensor.shape) for name, tensor in kept.items()]
    [('x', (2, 3))]
    """
    kept: dict[str, records.Tensor] = {}
    for name, array in inputs.items():
        text = array.dtype.kind == "O"
        match policy.get(name, "drop" if text else "store"):
            case "store" if not text:
                kept[name] = records.Tensor.of(array)
            case "hash":
                kept[name] = records.Tensor.of(_hashes(array, secret))
            case _:
                pass
    return kept


def _hashes(array: npt.NDArray[Any], secret: str) -> npt.NDArray[np.uint8]:
    """Return a keyed hash of each row [rows, HASH_BYTES]: equal rows stay recognisable as such."""
    digests = b"".join(
        hashlib.blake2b(
            tensors.to_bytes(row), digest_size=HASH_BYTES, key=secret.encode()[:64]
        ).digest()
        for row in array.reshape(len(array), -1)
    )
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(array), HASH_BYTES)
