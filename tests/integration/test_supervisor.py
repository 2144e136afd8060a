"""The supervisor over real processes: restarts, drains, and leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice import clock, errors
from coppice_cli.supervise import family, lock
from coppice_cli.supervise.children import Child
from coppice_cli.supervise.life import Patience
from coppice_cli.supervise.supervisor import Stop, Supervisor
from tests.support import programs

PATIENCE = Patience(first_seconds=0.05, cap_seconds=0.2, stable_seconds=60.0, limit=4)


class Run:
    """A supervisor in a thread, as `coppice up` would be in a process."""

    def __init__(self, children: list[Child], home: Path, patience: Patience) -> None:
        self.stop = Stop()
        self.said: list[str] = []
        self.problem: Exception | None = None
        self._home = home
        self._supervisor = Supervisor(
            children,
            home=home,
            clock=clock.SystemClock(),
            patience=patience,
            report=self.said.append,
        )
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self._supervisor.run(self.stop)
        except errors.CoppiceError as problem:
            self.problem = problem

    def end(self) -> None:
        self.stop.asked = True
        self.join()

    def join(self) -> None:
        self._thread.join()

    def children(self) -> dict[str, lock.ChildStatus]:
        status = lock.read_status(self._home)
        return {child.name: child for child in status.children} if status else {}

    def phases(self) -> list[str]:
        return [child.phase for child in self.children().values()]

    def pid(self, name: str) -> int:
        pid = self.children()[name].pid
        assert pid is not None
        return pid


@contextlib.contextmanager
def running(home: Path, *children: Child, patience: Patience = PATIENCE) -> Iterator[Run]:
    run = Run(list(children), home, patience)
    run.start()
    try:
        yield run
    finally:
        run.end()


def test_children_start_and_end_with_the_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, programs.sleeper("one"), programs.sleeper("two")) as run:
        programs.until(lambda: run.phases() == ["running", "running"])
        pids = [run.pid("one"), run.pid("two")]
    assert [programs.alive(pid) for pid in pids] == [False, False]
    assert lock.read_status(tmp_path) is None


def test_the_next_child_starts_once_the_one_before_is_ready(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = Child(name="first", argv=("sleep", "600"), ready=gate.exists)
    with running(tmp_path, first, programs.sleeper("second")) as run:
        programs.until(lambda: bool(run.phases()))
        assert run.phases() == ["starting", "down"]
        gate.touch()
        programs.until(lambda: run.phases() == ["running", "running"])


def test_children_end_in_the_reverse_order(tmp_path: Path) -> None:
    with running(tmp_path, programs.sleeper("first"), programs.sleeper("second")) as run:
        programs.until(lambda: run.phases() == ["running", "running"])
    assert run.said[-2:] == ["second ended", "first ended"]


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    with running(tmp_path, programs.sleeper("one"), programs.sleeper("two")) as run:
        programs.until(lambda: run.phases() == ["running", "running"])
        first, other = run.pid("one"), run.pid("two")
        os.kill(first, signal.SIGKILL)
        programs.until(lambda: run.children()["one"].restarts == 1)
        programs.until(lambda: run.phases() == ["running", "running"])
        assert run.pid("one") != first
        assert run.pid("two") == other
        assert run.children()["one"].reason == "was ended by signal 9"


def test_a_child_that_crashes_too_often_ends_everything_and_shows_its_log(
    tmp_path: Path,
) -> None:
    broken = Child(name="broken", argv=("sh", "-c", "echo the disk is gone; exit 5"))
    with running(tmp_path, programs.sleeper("well"), broken) as run:
        run.join()
    assert isinstance(run.problem, errors.EnvironmentProblem)
    assert "broken exited with 5, 4 times in a row, and is given up" in str(run.problem)
    assert "the disk is gone" in str(run.problem)
    assert "well ended" in run.said


def test_wrong_settings_end_everything_at_once(tmp_path: Path) -> None:
    hopeless = Child(name="hopeless", argv=("sh", "-c", "echo no such key; exit 2"))
    with running(tmp_path, hopeless) as run:
        run.join()
    assert "hopeless exited with 2, and is given up" in str(run.problem)
    assert (tmp_path / "logs" / "hopeless.log").read_text() == "no such key\n"


def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    never = Child(name="never", argv=("sleep", "600"), ready=lambda: False, ready_seconds=0.1)
    with running(tmp_path, never, patience=Patience(first_seconds=0.01, limit=2)) as run:
        run.join()
    assert "never was not ready after 0.1 s, 2 times in a row" in str(run.problem)


def test_a_child_drains_before_it_ends(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import signal, sys, time
        def drain(*_):
            time.sleep(0.3)
            print("drained", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, drain)
        print("up", flush=True)
        time.sleep(600)
    """)
    log = tmp_path / "logs" / "polite.log"
    with running(tmp_path, programs.python("polite", code)):
        programs.until(lambda: log.exists() and "up" in log.read_text())
    assert log.read_text() == "up\ndrained\n"


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)"
)


def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "stubborn.log"
    with running(tmp_path, programs.python("stubborn", STUBBORN, drain_seconds=0.2)) as run:
        programs.until(lambda: log.exists() and "up" in log.read_text())
        pid = run.pid("stubborn")
    assert run.said[-1] == "stubborn did not end and was killed"
    assert not programs.alive(pid)


def test_a_second_wish_to_end_does_not_wait(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "stubborn.log"
    with running(tmp_path, programs.python("stubborn", STUBBORN, drain_seconds=600.0)) as run:
        programs.until(lambda: log.exists() and "up" in log.read_text())
        run.stop.ask()
        run.stop.ask()
        run.join()
    assert run.said[-1] == "stubborn did not end and was killed"


def test_two_supervisors_of_one_project_are_refused(tmp_path: Path) -> None:
    with running(tmp_path, programs.sleeper()) as run:
        programs.until(lambda: run.phases() == ["running"])
        with running(tmp_path, programs.sleeper("other")) as second:
            second.join()
        assert "runs already for this project" in str(second.problem)
        assert run.phases() == ["running"]


UP = """
import pathlib, sys
from coppice import clock
from coppice_cli.supervise import children, life, supervisor
with supervisor.until_signalled() as stop:
    supervisor.Supervisor(
        [children.Child(name="worker", argv=("sleep", "600"))],
        home=pathlib.Path(sys.argv[1]), clock=clock.SystemClock(),
        patience=life.Patience(), report=lambda text: print(text, flush=True),
    ).run(stop)
print("all ended")
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own, with one worker that runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    programs.until(lambda: worker_of(tmp_path) is not None)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def worker_of(home: Path) -> int | None:
    status = lock.read_status(home)
    running_now = status is not None and status.children[0].phase == "running"
    return status.children[0].pid if status and running_now else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_children_and_then_the_supervisor(
    up: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    worker = worker_of(tmp_path)
    assert worker is not None
    up.send_signal(number)
    output, _ = up.communicate()
    assert output.splitlines()[-2:] == ["worker ended", "all ended"]
    assert up.returncode == 0
    assert not programs.alive(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_children_do_not_outlive_a_killed_supervisor(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    worker = worker_of(tmp_path)
    assert worker is not None
    up.kill()
    up.wait()
    programs.until(lambda: not programs.alive(worker))


def test_leftovers_of_a_killed_supervisor_are_ended_by_the_next(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    stubborn = subprocess.Popen(
        ["sleep", "600"],
        env={**os.environ, family.MARK: family.mark(tmp_path, "worker")},
    )
    up.kill()
    up.wait()
    with running(tmp_path, programs.sleeper()) as run:
        programs.until(lambda: run.phases() == ["running"])
    assert f"the earlier run (process {up.pid}) did not end cleanly" in run.said[0]
    assert stubborn.wait() == -signal.SIGKILL
