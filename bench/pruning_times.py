"""How long the graphs of the pruning bench take, in turn, in one process with one thread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import psutil
import torch
from torch import nn

from coppice import runtime
from coppice.project import Split

SECONDS = 0.01
"""Least time of one turn; a single run of a small net is too short to be timed."""


def runners(
    models: Mapping[str, nn.Module], graphs: Mapping[str, str], rows: Split
) -> dict[str, Callable[[], object]]:
    """Return what answers the rows once, by name: models eagerly, graphs on ONNX Runtime."""
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in rows.inputs.values()]
    found: dict[str, Callable[[], object]] = {
        name: lambda model=model: model(*tensors) for name, model in models.items()
    }
    for name, path in graphs.items():
        session = runtime.Session(path)
        found[name] = lambda session=session: session.run(rows.inputs)
    return found


def race(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time contestants in turn; return the 20th percentile of the seconds of one run of each.

    Of a machine with other work on it the faster turns say most about the graph.
    """
    with torch.inference_mode():
        repeats = {name: _repeats(run) for name, run in contestants.items()}
        turns: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, run in contestants.items():
                turns[name].append(_turn(run, repeats[name]))
    return {name: float(np.percentile(times, 20)) for name, times in turns.items()}


def _repeats(run: Callable[[], object]) -> int:
    # The first runs warm up: memory is planned, caches are filled.
    once = min(_turn(run, 3) for _ in range(3))
    return max(1, int(SECONDS / once))


def _turn(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def growth(cycle: Callable[[], object], *, warm: int, cycles: int) -> Sequence[float]:
    """Return the process's memory in MiB after the warm-up and after each cycle from then on."""
    process = psutil.Process()
    found = []
    for number in range(warm + cycles):
        cycle()
        gc.collect()
        if number >= warm - 1:
            found.append(process.memory_info().rss / 2**20)
    return found
