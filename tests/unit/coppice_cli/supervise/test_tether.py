from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coppice_cli.supervise import tether

WRAPPED = (sys.executable, "-I", "-S", tether.__file__)


def run(parent: int, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [*WRAPPED, str(parent), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_becomes_the_program_with_its_arguments() -> None:
    done = run(os.getpid(), "echo", "two words", "-n")
    assert (done.returncode, done.stdout) == (0, "two words -n\n")


def test_the_programs_exit_code_is_its_own() -> None:
    assert run(os.getpid(), "sh", "-c", "exit 7").returncode == 7


def test_the_process_id_stays_the_same() -> None:
    with subprocess.Popen(
        [*WRAPPED, str(os.getpid()), "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid


def test_a_program_that_cannot_be_started_is_named() -> None:
    done = run(os.getpid(), "no-such-program")
    assert (done.returncode, done.stderr) == (
        1,
        "cannot start no-such-program: No such file or directory\n",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_nothing_starts_once_the_parent_is_gone(tmp_path: Path) -> None:
    started = tmp_path / "started"
    # No process has this id, so the parent must have died before.
    assert run(-1, "touch", str(started)).returncode == 1
    assert not started.exists()
