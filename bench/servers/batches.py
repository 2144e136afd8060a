"""The runtime alone: rows per second at its best batch size. Usage: `python batches.py MODEL`."""

from __future__ import annotations

import sys
import time

import numpy as np
import session

SECONDS = 1.0
"""Measured for so long at each batch size."""
ROWS = (1, 4, 16, 64)


def rate(model: str, rows: int) -> float:
    """Return the rows per second in batches of so many."""
    run, shape = session.runner(model), (rows, *session.shape(model)[1:])
    batch = np.random.default_rng(0).random(shape, dtype=np.float32)
    run(batch)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        run(batch)
        done += rows
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    print(max(rate(sys.argv[1], rows) for rows in ROWS))
