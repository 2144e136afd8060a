"""What tracing costs: processor time of a request with and without spans, in one interleaved run.

Three servers answer the same requests by turns: one that is not traced, one that sends the spans of
every request to a collector, and one that samples one request in a hundred. `--quick` makes two
short rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import asyncio

import asking
import faults
import numpy as np
import pytest
import report

from tests.support import collector, serving

ROUNDS, REQUESTS, CLIENTS = 6, 1600, 16
QUICK_ROUNDS, QUICK_REQUESTS = 2, 320
WARM_REQUESTS = 500
SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
OFF = "not traced"

NOTES = """One worker each, pinned to nothing; binary requests of one row of four numbers over 16
connections, so that nearly all that is measured is the way of a request, not the model. The figures
are processor time of the worker (user and system, all threads: also those that encode and send the
spans) for each request; the median over rounds, in which the servers take turns. The collector runs
in the client's process and is not counted. The ratio is the median of the ratios of each round."""


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    rounds, requests = (QUICK_ROUNDS, QUICK_REQUESTS) if options.quick else (ROUNDS, REQUESTS)
    with tempfile.TemporaryDirectory() as folder, collector.collector() as receiver:
        costs = measure(Path(folder), receiver, rounds, requests)
        spans = len(receiver.spans)
    rows = [row(name, found, costs[OFF]) for name, found in costs.items()]
    found = report.Report(
        name="tracing",
        title="What tracing costs",
        rows=[*rows, {**dict.fromkeys(rows[0], ""), "server": "spans received", "rounds": spans}],
        targets=[
            # Four spans a request, of those asked while it was warm or measured.
            report.Target("spans received", spans, ">=", 4 * rounds * requests),
        ],
        packages=("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "uvicorn"),
        notes=NOTES,
    )
    found.write(options.out)
    sys.exit(0 if all(target.holds for target in found.targets) else 1)


def row(name: str, costs: list[float], plain: list[float]) -> dict[str, Any]:
    """One line of the table."""
    ratios = [cost / other for cost, other in zip(costs, plain, strict=True)]
    return {
        "server": name,
        "rounds": len(costs),
        "us of CPU a request": round(1e6 * statistics.median(costs), 1),
        "ratio": round(statistics.median(ratios), 2),
    }


def measure(
    folder: Path, receiver: collector.Collector, rounds: int, requests: int
) -> dict[str, list[float]]:
    """Return the seconds of processor time a request, by server and round."""
    sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_MAX_QUEUE_SIZE": "100000"}
    variants = {OFF: {}, "1 in 100": {**sending, **SAMPLED}, "every request": sending}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(server(folder / str(place), environment))
            for place, (name, environment) in enumerate(variants.items())
        }
        for running in servers.values():
            cost(running, WARM_REQUESTS)
        found: dict[str, list[float]] = {name: [] for name in servers}
        for number in range(rounds):
            names = list(servers)
            for name in names[number % 3 :] + names[: number % 3]:
                found[name].append(cost(servers[name], requests))
        for running in servers.values():
            running.stop()  # what waits is sent
    return found


@contextlib.contextmanager
def server(folder: Path, environment: dict[str, str]) -> Iterator[serving.Server]:
    """Start a server with variables of OpenTelemetry's."""
    made = serving.project(folder, serve={"port": serving.free_port()})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        stack = contextlib.ExitStack()
        running = stack.enter_context(serving.server(made))
    with stack:
        yield running


def cost(running: serving.Server, requests: int) -> float:
    """Ask so many requests and return the worker's processor time for each."""
    (worker,) = faults.workers(running)
    before = worker.cpu_times()
    asyncio.run(ask(int(running.url.rsplit(":", 1)[1]), requests))
    after = worker.cpu_times()
    return float(after.user + after.system - before.user - before.system) / requests


async def ask(port: int, requests: int) -> None:
    """Ask over several connections at once."""

    async def client(number: int) -> None:
        connection = asking.Connection(port)
        for turn in range(requests // CLIENTS):
            rows = np.ones((1, 4), np.float32)
            body, headers = asking.as_binary(f"r{number}-{turn}", rows)
            answer = await connection.ask(asking.MODEL_PATH, body, headers)
            if answer.status != 200:
                message = f"{answer.status}: {answer.body!r}"
                raise RuntimeError(message)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


if __name__ == "__main__":
    main()
