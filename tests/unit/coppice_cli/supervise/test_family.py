from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice_cli.supervise import family

Sleeper = subprocess.Popen[bytes]


def sleeper(value: str) -> Sleeper:
    return subprocess.Popen(["sleep", "600"], env={**os.environ, family.MARK: value})


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Sleeper, Sleeper]]:
    """Two marked processes of one home."""
    with sleeper(family.mark(tmp_path, "one")) as one, sleeper(family.mark(tmp_path, "two")) as two:
        yield one, two
        one.kill()
        two.kill()


def test_only_the_named_child_is_ended(pair: tuple[Sleeper, Sleeper], tmp_path: Path) -> None:
    assert family.end(family.mark(tmp_path, "one")) == 1
    assert pair[0].wait() == -9
    assert pair[1].poll() is None


def test_without_a_name_all_children_of_the_home_are_ended(
    pair: tuple[Sleeper, Sleeper], tmp_path: Path
) -> None:
    assert family.end(family.mark(tmp_path)) == 2
    assert [process.wait() for process in pair] == [-9, -9]


def test_another_home_is_left_alone(pair: tuple[Sleeper, Sleeper], tmp_path: Path) -> None:
    assert family.end(family.mark(tmp_path / "other")) == 0
    assert [process.poll() for process in pair] == [None, None]


def test_a_process_that_ended_is_not_counted(pair: tuple[Sleeper, Sleeper], tmp_path: Path) -> None:
    pair[0].kill()
    pair[0].wait()
    assert family.end(family.mark(tmp_path)) == 1
