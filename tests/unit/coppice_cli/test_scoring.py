"""What `coppice score` puts together; the command is tried in commands/test_score.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import errors, registry
from coppice_cli import scoring
from service import batch, batch_rows
from tests.support import artifacts, serving
from tests.support import scoring as files

ROWS = artifacts.rows(20)


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return files.project(tmp_path / "project")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return files.write(tmp_path / "in.npz", ROWS)


def score(
    made: serving.Project, source: Path, output: Path, **wish: Any
) -> tuple[scoring.Outcome, list[tuple[int, float]]]:
    told: list[tuple[int, float]] = []
    whole = scoring.Wish(source=source, output=output, **wish)
    return scoring.score(made.tree, whole, lambda rows, share: told.append((rows, share))), told


def test_the_outcome_says_what_was_written_by_whom(
    made: serving.Project, source: Path, tmp_path: Path
) -> None:
    found, told = score(made, source, tmp_path / "out.csv")
    assert found == scoring.Outcome(
        output=str(tmp_path / "out.csv"),
        version=made.champion,
        rows=20,
        skipped=0,
        resumed_rows=0,
    )
    assert told == [(0, 0.0), (20, 1.0)]


def test_rows_passed_over_are_counted(made: serving.Project, tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[[2, 7]] = np.nan
    path = files.write(tmp_path / "in.npz", rows)
    found, _ = score(made, path, tmp_path / "out.csv", on_error="skip")
    assert (found.rows, found.skipped) == (18, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_answer(
    made: serving.Project, source: Path, tmp_path: Path, threads: int
) -> None:
    score(made, source, tmp_path / "out.npz", threads=threads)
    scores = files.read(tmp_path / "out.npz")["scores"]
    assert np.allclose(scores, files.expected(made, ROWS), atol=1e-6)


@pytest.mark.parametrize("version", ["candidate", "tiny:000000000000", "nope"])
def test_a_version_that_is_not_there_is_refused_and_leaves_nothing(
    made: serving.Project, source: Path, tmp_path: Path, version: str
) -> None:
    with pytest.raises(errors.UnknownVersion):
        score(made, source, tmp_path / "out.csv", version=version)
    assert not list(tmp_path.glob("out.csv*"))


def test_the_input_is_never_written_over(
    made: serving.Project, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link.npz").symlink_to(source)
    before = source.read_bytes()
    with pytest.raises(errors.InputError, match="is the input, too"):
        score(made, source, tmp_path / "link.npz", overwrite=True)
    assert source.read_bytes() == before


def test_an_output_that_cannot_be_is_refused_before_a_row_is_read(
    made: serving.Project, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(errors.InputError, match="ends in one of"):
        score(made, source, tmp_path / "out.xlsx")
    assert not list(tmp_path.glob("out.xlsx*"))


class Left(Exception):
    """A job was left."""


@pytest.fixture
def left(
    made: serving.Project, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A job of parts of five rows that was left after the first: its output."""
    monkeypatch.setattr(batch, "STRETCH_BYTES", 1)
    steps = iter([batch.Scorer._part, leave])

    def step(scorer: batch.Scorer, rows: batch_rows.Rows) -> None:
        next(steps)(scorer, rows)

    with monkeypatch.context() as first:
        first.setattr(batch.Scorer, "_part", step)
        with pytest.raises(Left):
            score(made, source, tmp_path / "out.csv", batch_rows=5)
    return tmp_path / "out.csv"


def leave(scorer: batch.Scorer, rows: batch_rows.Rows) -> None:
    raise Left


def test_a_resumed_job_says_what_was_done_before(
    made: serving.Project, source: Path, left: Path
) -> None:
    found, told = score(made, source, left, batch_rows=5)
    assert (found.resumed_rows, found.rows) == (5, 20)
    assert told == [(5, 0.25), (10, 0.5), (15, 0.75), (20, 1.0)]


def test_a_resumed_job_is_answered_by_the_version_that_began_it(
    made: serving.Project, source: Path, left: Path
) -> None:
    registry.open_registry(made.tree).point(serving.MODEL, {"champion": made.candidate})
    found, _ = score(made, source, left, batch_rows=5)
    assert found.version == made.champion


def test_an_input_that_was_touched_since_is_not_gone_on_with(
    made: serving.Project, source: Path, left: Path
) -> None:
    later = source.stat().st_mtime_ns + 1_000_000_000
    os.utime(source, ns=(later, later))
    with pytest.raises(errors.InputError, match="differs in modified_ns"):
        score(made, source, left, batch_rows=5)


def test_a_version_that_was_edited_answers_nothing(
    made: serving.Project, source: Path, tmp_path: Path
) -> None:
    model = made.path(made.champion) / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(errors.ArtifactError):
        score(made, source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
