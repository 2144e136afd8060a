"""Kinds of numbers that tensors hold, bfloat16 among them.

numpy has no bfloat16 of its own; importing this file teaches it that name, so that
`np.dtype("bfloat16")` works. It is the only file that imports ml_dtypes.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Say whether elements may be NaN or infinite.

    >>> is_float(np.dtype("bfloat16")), is_float(np.dtype("int8"))
    (True, False)
    """
    return dtype.kind == "f" or dtype == BFLOAT16


def is_number(dtype: np.dtype[Any]) -> bool:
    """Say whether elements are numbers or truth values, not texts.

    >>> is_number(np.dtype("bool")), is_number(np.dtype(object))
    (True, False)
    """
    return dtype.kind in "biuf" or dtype == BFLOAT16
