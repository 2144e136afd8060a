"""The process that times one graph; `retrain.timing` says what is asked and answered.

Run as `python -m retrain.timing_worker CONTESTANT ROWS.npz`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from coppice import clock, errors, project, runtime
from retrain import timing
from retrain.evaluate import latency


def load(contestant: timing.Contestant) -> latency.Runner:
    """Load a contestant, and return what answers a batch.

    Raises
    ------
    EngineMissing
        Its engine is not installed.
    ArtifactError
        It cannot be loaded.
    """
    path = Path(contestant.path)
    if contestant.engine == "torch":
        # Loaded here and not above: a worker that times a graph must not hold torch.
        from retrain import program

        return program.load(path, threads=contestant.threads)
    packed = runtime.Packed(path, contestant.engine, contestant.precision)
    return runtime.load(packed, threads=contestant.threads).run


class Stopwatch:
    """Times batches of different sizes of the same rows."""

    def __init__(self, run: latency.Runner, inputs: Mapping[str, project.Array]) -> None:
        self._run = run
        self._inputs = inputs
        self._clock = clock.SystemClock()
        self._repeats: dict[int, int] = {}

    def turn(self, rows: int) -> timing.Turn:
        """Time a batch of so many rows; the first one of a size finds how often to repeat it."""
        batch = {name: array[:rows] for name, array in self._inputs.items()}
        if rows not in self._repeats:
            self._repeats[rows] = latency.repeats(self._run, batch, self._clock.monotonic)
        count, spent = self._repeats[rows], self._clock.processor()
        seconds = latency.turn(self._run, batch, count, self._clock.monotonic)
        # A coarse clock may not have moved at all.
        return timing.Turn(seconds, max(self._clock.processor() - spent, 1e-9) / count)


def answer(stopwatch: Stopwatch, asked: Iterable[str], out: TextIO) -> None:
    """Answer turns until nobody asks any more."""
    for line in asked:
        found = stopwatch.turn(json.loads(line)["rows"])
        out.write(json.dumps(found._asdict()) + "\n")
        out.flush()


def main(arguments: list[str]) -> None:
    """Load, say so, and answer turns."""
    out = _own_output()
    try:
        contestant = msgspec.json.decode(arguments[0], type=timing.Contestant)
        with np.load(arguments[1], allow_pickle=False) as stored:
            inputs = {name: stored[name] for name in stored.files}
        stopwatch = Stopwatch(load(contestant), inputs)
        out.write(json.dumps({"ready": True}) + "\n")
        out.flush()
        answer(stopwatch, sys.stdin, out)
    except errors.ArtifactError as problem:
        missing = isinstance(problem, errors.EngineMissing)
        out.write(json.dumps({"error": str(problem), "missing": missing}) + "\n")
        out.flush()


def _own_output() -> TextIO:
    """Return the pipe to the asker, and send what libraries print to standard error."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


if __name__ == "__main__":
    main(sys.argv[1:])
