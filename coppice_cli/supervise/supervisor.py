"""The supervisor: looks at each child several times a second and does what `life` says.

It runs in one thread, because the kernel ties a child to the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coppice import clock, errors
from coppice_cli.supervise import children, family, life, lock

POLL_SECONDS = 0.1

Report = Callable[[str], None]


class Stop:
    """A wish to end: once asked the children drain; asked again they are killed.

    Plain attributes, because a signal handler may interrupt whoever holds the lock of an event.
    """

    def __init__(self) -> None:
        self.asked = False
        self.hurried = False

    def ask(self) -> None:
        """Ask, or ask again."""
        self.hurried = self.asked
        self.asked = True


@contextlib.contextmanager
def until_signalled() -> Iterator[Stop]:
    """Turn SIGTERM, SIGINT and SIGHUP into a wish to end, for the length of a `with` block."""
    stop = Stop()

    def ask(number: int, frame: Any) -> None:
        del number, frame
        stop.ask()

    # SIGHUP too: a closed terminal is no reason to leave anything half-way.
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Supervisor:
    """Keep programs running.

    Parameters
    ----------
    programs
        In the order of their start; each starts once the one before has been ready. They end in
        the reverse order.
    home
        The project's home folder: lock, status and logs.
    clock
        Where the time comes from.
    patience
        How often a program is started again.
    report
        Called with a sentence for each change.
    """

    def __init__(
        self,
        programs: Sequence[children.Child],
        *,
        home: Path,
        clock: clock.Clock,
        patience: life.Patience,
        report: Report,
    ) -> None:
        self._home = home
        self._clock = clock
        self._report = report
        self._started_at = clock.now()
        self._wards = [_Ward(child, children.Process(child, home), patience) for child in programs]

    def run(self, stop: Stop) -> None:
        """Keep the programs running until asked to stop, then end them all.

        Raises
        ------
        EnvironmentProblem
            Another supervisor runs for this project, or a program crashed too often; the message
            shows the end of its log.
        """
        with lock.hold(self._home) as left_by:
            self._clear_leftovers(left_by)
            try:
                while not stop.asked:
                    self._turn()
                    self._clock.sleep(POLL_SECONDS)
            finally:
                self._end_all(stop)

    def _clear_leftovers(self, left_by: int | None) -> None:
        if left_by is not None:
            count = family.end(family.mark(self._home))
            self._report(
                f"the earlier run (process {left_by}) did not end cleanly; "
                f"{count} of its processes were ended"
            )

    def _turn(self) -> None:
        changed = False
        for ward in self._wards:
            changed |= ward.turn(self._clock.monotonic(), self._report)
            if ward.life.phase == "given up":
                raise errors.EnvironmentProblem(ward.obituary())
            if not ward.life.reached:
                break
        if changed:
            self._show()

    def _show(self) -> None:
        shown = tuple(ward.status() for ward in self._wards)
        status = lock.Status(pid=os.getpid(), started_at=self._started_at, children=shown)
        lock.write_status(self._home, status)

    def _end_all(self, stop: Stop) -> None:
        for ward in reversed(self._wards):
            ward.end(self._clock, stop, self._report)


class _Ward:
    """A child, its process and its life."""

    def __init__(
        self, child: children.Child, process: children.Process, patience: life.Patience
    ) -> None:
        self.life = life.Life()
        self._child = child
        self._process = process
        self._patience = patience

    def turn(self, now: float, report: Report) -> bool:
        """Look, do what is to be done, and say whether anything changed."""
        before = self.life
        self.life, move = life.next_move(
            before, self._look(), self._patience, self._child.ready_seconds, now
        )
        match move:
            case "start":
                self._process.start()
            case "clear away":
                self._process.clear_away()
            case "nothing":
                self._process.trim_log()
        if self.life.phase != before.phase:
            report(self._sentence(now))
        return self.life != before

    def _look(self) -> life.Look:
        exit_code = self._process.exit_code()
        asked = exit_code is None and self.life.phase == "starting"
        return life.Look(exit_code, ready=asked and self._child.ready())

    def _sentence(self, now: float) -> str:
        name = self._child.name
        match self.life.phase:
            case "waiting":
                pause = self.life.since - now
                return f"{name} {self.life.reason}; it is started again in {pause:.1f} s"
            case "running":
                return f"{name} is ready (process {self._process.pid})"
            case phase:
                return f"{name}: {phase}"

    def obituary(self) -> str:
        """Say why the child was given up, with the end of its log."""
        times = f", {self.life.crashes} times in a row" if self.life.crashes > 1 else ""
        return (
            f"{self._child.name} {self.life.reason}{times}, and is given up. "
            f"The end of {self._process.log}:\n{self._process.tail()}"
        )

    def status(self) -> lock.ChildStatus:
        """Return what others may know."""
        return lock.ChildStatus(
            name=self._child.name,
            phase=self.life.phase,
            pid=self._process.pid,
            restarts=self.life.restarts,
            reason=self.life.reason,
            log=str(self._process.log),
        )

    def end(self, time: clock.Clock, stop: Stop, report: Report) -> None:
        """Ask the program to end, wait while it drains, and kill what is left."""
        if self._process.pid is None:
            return
        self._process.ask_to_end()
        deadline = time.monotonic() + self._child.drain_seconds
        while self._process.exit_code() is None and time.monotonic() < deadline:
            if stop.hurried:
                break
            time.sleep(POLL_SECONDS)
        drained = self._process.exit_code() is not None
        self._process.clear_away()
        report(f"{self._child.name} {'ended' if drained else 'did not end and was killed'}")
