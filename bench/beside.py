"""Prediction events sustained into SQLite beside the real server, each on a core of its own or not.

The server (`service`, over HTTP, on a small artifact) is pinned to one core and kept as busy as its
clients can make it; the appender is a process of its own that makes, seals and commits prediction
events as the server's outbox does: whatever is due goes into one transaction.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import event_encodings
import samples
from samples import Sample

from coppice import records
from coppice.eventlog.sqlite import SqliteLog
from tests.support import load, serving

CLIENTS = 8
GROUP = 128
"""Events a commit when the appender goes as fast as it can."""
MOST = 512
"""Most events a commit when it keeps a pace; as the server's outbox."""
PACE = 10_500.0
"""Events a second that are due when it keeps a pace: the target, and a little for a slow end."""
TICK = 0.005
"""Seconds the appender sleeps when nothing is due."""


class Setting(NamedTuple):
    """A contestant: what runs beside what.

    Attributes
    ----------
    name
        As the table names it.
    server
        Whether the server is under load.
    pace
        Events a second that are due; 0 for as many as can be, `None` for no appender.
    same_core
        Whether the appender shares the server's core; then the clients have the other.
    same_file
        Whether the appender writes to the server's own log.
    """

    name: str
    server: bool
    pace: float | None
    same_core: bool = False
    same_file: bool = False


ALONE = "server alone"
FLAT_OUT = "beside the server, own file, flat out"
PACED = "beside the server, own file, 10,500/s due"
SHARED = "beside the server, the server's own file, 10,500/s due"
SAME_CORE = "on the server's core, own file, 10,500/s due"
SETTINGS = (
    Setting(ALONE, server=True, pace=None),
    Setting("appender alone, flat out", server=False, pace=0.0),
    Setting(FLAT_OUT, server=True, pace=0.0),
    Setting(
        "beside the server, the server's own file, flat out", server=True, pace=0.0, same_file=True
    ),
    Setting(PACED, server=True, pace=PACE),
    Setting(SHARED, server=True, pace=PACE, same_file=True),
    Setting(SAME_CORE, server=True, pace=PACE, same_core=True),
)


class Run(NamedTuple):
    """What one run of a setting gave.

    Attributes
    ----------
    appended
        Of the appender; waits are those of its commits. `None` where it did not run.
    lags
        Seconds from when an event was due until it was committed; empty where no pace is kept.
    answers, server_cpu, seconds
        Requests answered with 200, seconds of processor of the whole server, and of the run.
    """

    appended: Sample | None
    lags: tuple[float, ...]
    answers: int
    server_cpu: float
    seconds: float


class Bench:
    """A running server and how to put an appender beside it."""

    def __init__(self, made: serving.Project, running: serving.Server, folder: Path) -> None:
        self._made, self._running, self._folder = made, running, folder
        self._cores = sorted(os.sched_getaffinity(0))

    def run(self, setting: Setting, seconds: float) -> Run:
        """Run one setting for a while."""
        own = self._folder / "beside" / "events.sqlite"
        path = self._made.tree.log_path if setting.same_file else own
        first, last = self._cores[0], self._cores[-1]
        core, clients = (first, last) if setting.same_core else (last, first)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, own.parent, ignore_errors=True)
            if setting.server:
                stack.enter_context(_asking(self._running.url, clients, self._folder))
            before, busy, began = self._predictions(), self._busy(), time.monotonic()
            appended, lags = None, ()
            if setting.pace is None:
                time.sleep(seconds)
            else:
                appended, lags = _in_a_process(append, path, setting.pace, seconds, core)
            took = time.monotonic() - began
            # Without clients only the last requests of the run before are still answered.
            answers = self._predictions() - before if setting.server else 0
            if setting.same_file and appended:
                answers -= appended.events
            return Run(appended, lags, answers, self._busy() - busy, took)

    def _predictions(self) -> int:
        log = self._made.log
        with contextlib.closing(log):
            return int(log.end() or 0)

    def _busy(self) -> float:
        times = [process.cpu_times() for process in self._running.family()]
        return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Start the server on the first core that this process may use."""
    made = serving.project(folder / "project", serve={"port": serving.free_port()})
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        started = serving.server(made)
        running = started.__enter__()
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        yield Bench(made, running, folder)
    finally:
        started.__exit__(None, None, None)


def append(path: Path, pace: float, seconds: float, core: int) -> tuple[Sample, tuple[float, ...]]:
    """Make, seal and commit prediction events for a while, in this process.

    With a pace it ends when all that was due by then is committed, however long that takes.
    """
    os.sched_setaffinity(0, {core})
    waits: list[float] = []
    lags: list[float] = []
    done = 0
    with contextlib.closing(SqliteLog(path)) as log:
        busy, began = time.process_time(), time.perf_counter()
        while (now := time.perf_counter() - began) < seconds or done < int(seconds * pace):
            due = min(MOST, int(min(now, seconds) * pace) - done) if pace else GROUP
            if not due:
                time.sleep(TICK)
                continue
            events = [_event() for _ in range(due)]
            start = time.perf_counter()
            log.append(events)
            waits.append(time.perf_counter() - start)
            if pace:
                # The first of a commit waited longest.
                lags.append(time.perf_counter() - began - done / pace)
            done += due
        cpu, wall = time.process_time() - busy, time.perf_counter() - began
    return Sample(done, wall, cpu, tuple(waits)), tuple(lags)


def _event() -> records.Event:
    name = records.uuid7()
    now = time.time()
    return records.seal(event_encodings.record(name), source="coppice/appender", now=now)


def _in_a_process(function: Any, *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


SCRIPT = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '%s'
"""


@contextlib.contextmanager
def _asking(url: str, core: int, folder: Path) -> Iterator[None]:
    """Keep the server under load from one core: by wrk, or by clients of our own."""
    found = shutil.which("wrk")
    if found is None:
        with load.load(url, CLIENTS):
            yield
        return
    script = folder / "ask.lua"
    script.write_text(SCRIPT % serving.infer_body().decode())
    arguments = ["-t1", f"-c{CLIENTS}", "-d1h", "-s", str(script), url + serving.INFER]
    process = subprocess.Popen([found, *arguments], stdout=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {core})
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def rate(runs: Sequence[Run]) -> float:
    """Events a second that the appender committed; the median over the runs."""
    return statistics.median(
        run.appended.events / run.appended.wall for run in runs if run.appended
    )


def row(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Figures of one setting."""
    appended = [run.appended for run in runs if run.appended]
    lags = sorted(lag for run in runs for lag in run.lags)
    answers = sum(run.answers for run in runs)
    figures = {} if not appended else samples.figures(appended)
    return {
        "contestant": name,
        **{column: figures.get(column, "") for column in samples.COLUMNS},
        "lag p99 ms": samples.milliseconds(lags, 0.99) if lags else "",
        "answers/s": round(statistics.median(run.answers / run.seconds for run in runs)),
        "server CPU us/answer": round(1e6 * sum(run.server_cpu for run in runs) / answers)
        if answers
        else "",
    }
