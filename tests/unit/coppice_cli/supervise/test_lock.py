from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice import errors
from coppice_cli.supervise import lock

STATUS = lock.Status(
    pid=7,
    started_at=1.0,
    children=(
        lock.ChildStatus(
            name="serve", phase="running", pid=8, restarts=2, reason="exited with 1", log="x"
        ),
    ),
)
HOLD_AND_DIE = """
import os, pathlib, sys
from coppice_cli.supervise import lock
with lock.hold(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def test_a_second_run_is_refused_and_hears_of_the_first(tmp_path: Path) -> None:
    with (
        lock.hold(tmp_path),
        pytest.raises(errors.EnvironmentProblem, match=f"process {os.getpid()}"),
        lock.hold(tmp_path),
    ):
        pass


def test_the_lock_is_free_after_a_clean_end(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        pass
    with lock.hold(tmp_path) as left_by:
        assert left_by is None


def test_other_projects_are_not_in_the_way(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "one"), lock.hold(tmp_path / "two"):
        pass


def test_a_killed_run_locks_nobody_out_and_is_noticed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", HOLD_AND_DIE, str(tmp_path)])
    assert dead.wait() == -9
    with lock.hold(tmp_path) as left_by:
        assert left_by == dead.pid


def test_the_status_is_read_back_while_the_lock_is_held(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        lock.write_status(tmp_path, STATUS)
        assert lock.read_status(tmp_path) == STATUS


def test_reading_the_status_lets_the_next_run_begin(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        pass
    assert lock.read_status(tmp_path) is None
    with lock.hold(tmp_path):
        pass


def test_there_is_no_status_after_the_end(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        lock.write_status(tmp_path, STATUS)
    assert lock.read_status(tmp_path) is None


def test_a_status_that_a_killed_run_left_is_not_believed(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        pass
    lock.write_status(tmp_path, STATUS)
    assert lock.read_status(tmp_path) is None


def test_there_is_no_status_before_the_first_run(tmp_path: Path) -> None:
    assert lock.read_status(tmp_path) is None


def test_there_is_no_status_while_the_first_child_is_being_started(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        assert lock.read_status(tmp_path) is None
