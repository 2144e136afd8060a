"""How long graphs take, each in a process of its own, taken in turn.

Called by packing, export and the search for widths. Takes files and rows; gives seconds, round by
round. Two runtimes in one process share caches, allocators and pools of threads, and then time each
other; so each `Contestant` gets a worker process, and the workers take turns: while one is timed,
the others wait for a line on their pipes and use nothing.

The contract of a worker, which is `python -m retrain.timing_worker`:

- it is told its contestant (JSON) and a file of rows (.npz) on the command line, loads both, and
  answers `{"ready": true}`, or `{"error": "...", "missing": false}` and ends;
- each line on its input asks for one turn, `{"rows": 32}`: that many of the given rows as a batch,
  again and again for `latency.ROUND_SECONDS`. The first turn of each size warms up before it;
- each turn is answered by one line, `{"seconds": 0.0012, "cpu_seconds": 0.0011}`, per batch;
- the end of its input ends it. Nothing is pickled on the way.

Ratios of turns of the same round (`gain`) are what to judge by: a slow moment of the machine hits
both. `cpu_seconds` leaves out waiting for a core, and counts all threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol, Self, TypeAlias

import msgspec
import numpy as np

from coppice import artifact, errors, project
from retrain.evaluate import latency

PATIENCE = 120.0
"""Seconds until a worker that says nothing is given up."""

Engine: TypeAlias = Literal["onnxruntime", "openvino", "torch"]
"""What runs the file; `torch` runs a `.pt2`."""

Clock: TypeAlias = Literal["wall", "cpu"]
"""Which seconds are meant: those on the wall, or the processor's own."""


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be timed, and what it is to be run with."""

    name: str
    """Told apart by it in the results."""
    path: str
    engine: Engine = "onnxruntime"
    precision: artifact.Precision = "fp32"
    threads: int = 1
    """Threads that one run may use."""


class Turn(NamedTuple):
    """One turn: seconds for one batch, by the clock on the wall and by the processor's."""

    seconds: float
    cpu_seconds: float


Rounds: TypeAlias = Mapping[str, Sequence[Turn]]
"""By contestant: its turns, one of each round, in the order of the rounds."""


class Worker:
    """One contestant in a process of its own; a context, which ends the process.

    Parameters
    ----------
    contestant
        What is loaded there.
    rows
        An .npz file with the inputs by name, as many rows as the largest batch.

    Raises
    ------
    EngineMissing
        Its engine is not installed.
    ArtifactError
        It cannot be loaded, or fails, or takes longer than `PATIENCE`.
    """

    def __init__(self, contestant: Contestant, rows: Path) -> None:
        self.contestant = contestant
        # To a file, not a pipe: nobody reads it unless the worker fails.
        self._talk: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        told = msgspec.json.encode(contestant).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "retrain.timing_worker", told, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._talk,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def __enter__(self) -> Self:
        """Wait until the file is loaded."""
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._talk.close()

    def turn(self, rows: int) -> Turn:
        """Time a batch of so many rows."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"rows": rows}).encode() + b"\n")
            self._process.stdin.flush()
        found = self._answer()
        return Turn(found["seconds"], found["cpu_seconds"])

    def _answer(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        with selectors.DefaultSelector() as ready:
            ready.register(stream, selectors.EVENT_READ)
            line = stream.readline() if ready.select(PATIENCE) else None
        if not line:
            message = f"{self.contestant.path} could not be timed: {self._reason(line)}"
            raise errors.ArtifactError(message)
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            problem = errors.EngineMissing if found["missing"] else errors.ArtifactError
            raise problem(found["error"])
        return found

    def _reason(self, line: bytes | None) -> str:
        if line is None:
            return f"no answer in {PATIENCE:.0f} s"
        self._talk.seek(0)
        said = self._talk.read().decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"the process ended with {self._process.wait()}"


@contextlib.contextmanager
def workers(
    contestants: Sequence[Contestant], inputs: Mapping[str, project.Array]
) -> Iterator[list[Worker]]:
    """Start a worker for each contestant, wait until all are ready, and end them afterwards.

    Parameters
    ----------
    inputs
        Real rows by input name, at least as many as the largest batch that will be timed.
    """
    with tempfile.TemporaryDirectory(prefix="coppice-") as name, contextlib.ExitStack() as stack:
        rows = Path(name) / "rows.npz"
        # The stubs take every keyword for `allow_pickle`.
        np.savez(rows, **dict(inputs))  # type: ignore[arg-type]
        yield [stack.enter_context(Worker(contestant, rows)) for contestant in contestants]


def race(
    contestants: Sequence[Contestant],
    inputs: Mapping[str, project.Array],
    *,
    rows: int = 1,
    rounds: int = latency.ROUNDS,
) -> dict[str, list[Turn]]:
    """Time all contestants on the same batch, round by round.

    Parameters
    ----------
    inputs
        Real rows by input name; repeated where there are fewer than `rows`.
    rows
        Size of the batch.

    Raises
    ------
    EngineMissing
        An engine is not installed.
    ArtifactError
        A contestant cannot be loaded, or fails on these rows.
    """
    batch = {name: array[np.arange(rows) % len(array)] for name, array in inputs.items()}
    with workers(contestants, batch) as running:
        return take_turns(running, rows=rows, rounds=rounds)


class Timed(Protocol):
    """Whatever takes turns: a `Worker`, or what is timed in the asker's own process."""

    contestant: Contestant

    def turn(self, rows: int) -> Turn:
        """Time a batch of so many rows."""
        ...


def take_turns(
    running: Sequence[Timed], *, rows: int, rounds: int = latency.ROUNDS
) -> dict[str, list[Turn]]:
    """Let workers take turns; each round begins with another one, so that none is always first."""
    found: dict[str, list[Turn]] = {worker.contestant.name: [] for worker in running}
    for worker in running:
        # The first turn of a size warms up; it may be far off, and is not counted.
        worker.turn(rows)
    for at in range(rounds):
        first = at % len(running)
        for worker in (*running[first:], *running[:first]):
            found[worker.contestant.name].append(worker.turn(rows))
    return found


def gain(
    found: Rounds,
    before: str,
    after: str,
    *,
    clock: Clock = "wall",
    confidence: float = 0.95,
) -> latency.Latency:
    """Say how much faster one contestant is than another, with an interval.

    Parameters
    ----------
    clock
        `cpu` where both use one thread and the machine is busy: it is what a batch takes on a core
        of its own. With more threads it adds up what runs side by side, so there it says little.

    Examples
    --------
    >>> slow, fast = Turn(0.4, 0.4), Turn(0.1, 0.1)
    >>> gain({"dense": [slow] * 9, "pruned": [fast] * 9}, "dense", "pruned").gain
    4.0
    """
    field = Turn._fields.index("cpu_seconds" if clock == "cpu" else "seconds")
    first, second = ([turn[field] for turn in found[name]] for name in (before, after))
    return latency.summarise(first, second, confidence=confidence)
