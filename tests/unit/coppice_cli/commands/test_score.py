from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from coppice import records, registry
from coppice.eventlog.sqlite import SqliteLog
from deploy import facts
from monitoring import intake
from monitoring import state as states
from service import batch, batch_job, batch_rows
from tests.support import artifacts, command_line, scoring, serving

ROWS = artifacts.rows(300)


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return scoring.project(tmp_path / "project")


def ask(made: serving.Project, source: Path, output: Path, *more: str) -> list[str]:
    mapped = ["--columns", scoring.MAPPING] if source.suffix in {".parquet", ".csv"} else []
    return ["score", str(source), str(output), "-C", str(made.tree.root), *mapped, *more]


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.npz"])
@pytest.mark.parametrize("source", ["in.parquet", "in.csv", "in.npz"])
def test_every_form_becomes_every_form_in_the_order_of_the_rows(
    call: command_line.Call, made: serving.Project, tmp_path: Path, source: str, output: str
) -> None:
    path = scoring.write(tmp_path / source, ROWS, group=70)
    done = call(*ask(made, path, tmp_path / output, "--batch-rows", "64"))

    found, scores = scoring.read(tmp_path / output), scoring.expected(made, ROWS)
    assert done.code == 0, done.err
    assert found["row"].tolist() == list(range(300))
    assert len(set(map(str, found["id"]))) == 300
    assert found["label"].tolist() == scores.argmax(axis=1).tolist()
    given = found["scores"][:, 1] if output == "out.npz" else found["score.yes"]
    assert np.allclose(given, scores[:, 1], atol=1e-6)


def test_a_single_array_is_scored_and_has_no_ids(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.npy", ROWS)
    assert call(*ask(made, path, tmp_path / "out.csv")).code == 0
    assert list(scoring.read(tmp_path / "out.csv")) == [
        *("row", "label", "class"),
        *("score.no", "score.yes"),
    ]


def test_a_regression_has_one_score_for_each_row(call: command_line.Call, tmp_path: Path) -> None:
    made = scoring.project(tmp_path / "project", project={"name": "tiny", "task": "regression"})
    tag = made.add(artifacts.linear_regressor)
    path = scoring.write(tmp_path / "in.parquet", ROWS)
    assert call(*ask(made, path, tmp_path / "out.parquet", "--version", tag)).code == 0
    found = scoring.read(tmp_path / "out.parquet")
    assert list(found) == ["row", "id", "score"]
    assert np.allclose(found["score"], ROWS.sum(axis=1), atol=1e-5)


def test_a_list_column_is_an_input_of_its_name(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    pa.parquet.write_table(pa.table({"x": ROWS.tolist()}), tmp_path / "in.parquet")
    words = ["score", tmp_path / "in.parquet", tmp_path / "out.npz", "-C", made.tree.root]
    assert call(*words).code == 0
    scores = scoring.read(tmp_path / "out.npz")["scores"]
    assert np.allclose(scores, scoring.expected(made, ROWS), atol=1e-6)


def test_another_version_answers_where_it_is_asked_for(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.npz", ROWS)
    done = call(*ask(made, path, tmp_path / "out.npz", "--version", made.candidate, "--json"))
    assert json.loads(done.out)["version"] == made.candidate


WRONG_CSV = "id,a,b,c,d\nr0,1,2,3,4\nr1,1,2,x,4\nr2,1,2\nr3,,2,3,4\nr4,1,2,3,nan\nr5,1,2,3,4\n"


def test_a_wrong_row_stops_the_job_with_its_number(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text(WRONG_CSV)
    done = call(*ask(made, tmp_path / "in.csv", tmp_path / "out.csv"))
    assert done.code == 2
    assert "row 1 (the first is 0): column 'c' holds 'x' here" in done.err
    assert not (tmp_path / "out.csv").exists()


def test_wrong_rows_are_skipped_counted_and_listed_where_that_is_asked_for(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text(WRONG_CSV)
    done = call(*ask(made, tmp_path / "in.csv", tmp_path / "out.csv", "--on-error", "skip"))
    assert done.code == 0, done.err
    assert scoring.read(tmp_path / "out.csv")["row"].tolist() == [0, 5]
    assert "4 rows skipped" in done.out
    listed = pa.csv.read_csv(tmp_path / "out.csv.skipped.csv").to_pydict()
    assert listed["row"] == [1, 2, 3, 4]
    assert [reason.split()[-2:] for reason in listed["reason"]] == [
        ["'x'", "here"],
        ["has", "5"],
        ["is", "missing"],
        ["infinite", "here"],
    ]


def test_a_row_that_the_model_cannot_answer_is_wrong_alone(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    tag = made.add(artifacts.failing_classifier, above=5.0)
    rows = ROWS.copy()
    rows[7, 0] = 6.0
    path = scoring.write(tmp_path / "in.npz", rows)
    more = ("--version", tag, "--on-error", "skip", "--batch-rows", "32")
    assert call(*ask(made, path, tmp_path / "out.npz", *more)).code == 0
    assert scoring.read(tmp_path / "out.npz")["row"].tolist() == [*range(7), *range(8, 300)]


@pytest.mark.parametrize("form", [".parquet", ".npz", ".npy"])
def test_a_truncated_file_is_refused(
    call: command_line.Call, made: serving.Project, tmp_path: Path, form: str
) -> None:
    path = scoring.write(tmp_path / f"in{form}", ROWS)
    path.write_bytes(path.read_bytes()[:-100])
    done = call(*ask(made, path, tmp_path / "out.csv"))
    assert (done.code, (tmp_path / "out.csv").exists()) == (2, False)
    assert str(path.name) in done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--columns", "x=a,b,c,nope"], "no column 'nope'"),
        (["--columns", "y=a,b"], "no input 'y'"),
        (["--columns", "x=a,b"], "2 columns for input 'x', which takes 4"),
        (["--columns", "x=id,a,b,c"], "holds string"),
        (["--columns", "x"], "write INPUT=COLUMN"),
        (["--columns", scoring.MAPPING, "--id", "nope"], "no column 'nope'"),
        ([], "--columns x=COLUMN"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    call: command_line.Call, made: serving.Project, tmp_path: Path, words: list[str], problem: str
) -> None:
    path = scoring.write(tmp_path / "in.parquet", ROWS)
    done = call("score", path, tmp_path / "out.csv", "-C", made.tree.root, *words)
    assert done.code == 2
    assert problem in " ".join(done.err.split())


def test_an_output_that_is_there_is_replaced_only_on_demand(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path, output = scoring.write(tmp_path / "in.npz", ROWS), tmp_path / "out.npz"
    output.write_bytes(b"precious")
    assert call(*ask(made, path, output)).code == 2
    assert output.read_bytes() == b"precious"
    assert call(*ask(made, path, output, "--overwrite")).code == 0
    assert len(scoring.read(output)["row"]) == 300


def test_an_empty_table_gives_an_empty_output_with_columns(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.parquet", ROWS[:0])
    assert call(*ask(made, path, tmp_path / "out.csv")).code == 0
    text = (tmp_path / "out.csv").read_text()
    assert text == '"row","id","label","class","score.no","score.yes"\n'


@pytest.fixture
def interrupted(
    call: command_line.Call,
    made: serving.Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, Path]:
    """A job of six parts of fifty rows that was left after two: its input and its output."""
    monkeypatch.setattr(batch, "STRETCH_BYTES", 1)
    path, output = scoring.write(tmp_path / "in.npz", ROWS), tmp_path / "out.npz"
    parts = iter([batch.Scorer._part, batch.Scorer._part, _leave])

    def step(scorer: batch.Scorer, rows: batch_rows.Rows) -> None:
        next(parts)(scorer, rows)

    with monkeypatch.context() as first:
        first.setattr(batch.Scorer, "_part", step)
        assert call(*ask(made, path, output, "--batch-rows", "50")).code == 130
    return path, output


def _leave(scorer: batch.Scorer, rows: object) -> None:
    raise KeyboardInterrupt


def test_a_job_goes_on_where_it_was_left_with_the_version_that_began_it(
    call: command_line.Call, made: serving.Project, interrupted: tuple[Path, Path]
) -> None:
    path, output = interrupted
    registry.open_registry(made.tree).point("tiny", {"champion": made.candidate})
    done = json.loads(call(*ask(made, path, output, "--batch-rows", "50", "--json")).out)
    assert (done["resumed_rows"], done["rows"], done["version"]) == (100, 300, made.champion)
    assert scoring.read(output)["row"].tolist() == list(range(300))


def test_the_parts_of_another_job_are_not_mixed_in(
    call: command_line.Call, made: serving.Project, interrupted: tuple[Path, Path]
) -> None:
    path, output = interrupted
    done = call(*ask(made, path, output, "--batch-rows", "60"))
    assert (done.code, "differs in batch_rows, part_rows" in done.err) == (2, True)
    fresh = call(*ask(made, path, output, "--batch-rows", "60", "--overwrite", "--json"))
    assert json.loads(fresh.out)["resumed_rows"] == 0


def test_an_input_that_was_changed_is_another_job(
    call: command_line.Call, made: serving.Project, interrupted: tuple[Path, Path]
) -> None:
    path, output = interrupted
    scoring.write(path, artifacts.rows(300, seed=1))
    done = call(*ask(made, path, output, "--batch-rows", "50"))
    assert (done.code, "differs in modified_ns" in done.err) == (2, True)


def test_two_jobs_never_write_one_output(
    call: command_line.Call, made: serving.Project, interrupted: tuple[Path, Path]
) -> None:
    path, output = interrupted
    begun = output.with_name("out.npz.partial") / batch_job.JOB
    job = msgspec.json.decode(begun.read_bytes(), type=batch_job.Job)
    with batch_job.Work.opened(output, job, overwrite=False):
        done = call(*ask(made, path, output, "--batch-rows", "50"))
    assert (done.code, "another process is writing" in done.err) == (8, True)


def logged(made: serving.Project) -> list[records.Event]:
    log = SqliteLog(made.tree.log_path)
    try:
        return log.read("", 1000).events
    finally:
        log.close()


def test_nothing_is_logged_unless_it_is_asked_for(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.npz", ROWS)
    assert call(*ask(made, path, tmp_path / "out.npz")).code == 0
    assert logged(made) == []


def test_what_is_logged_carries_inputs_and_answers_under_the_offline_name(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.npz", ROWS)
    assert call(*ask(made, path, tmp_path / "out.npz", "--log", "--batch-rows", "100")).code == 0
    events = logged(made)
    assert [(event.model, event.source) for event in events] == [
        ("tiny.offline", "coppice/score")
    ] * 3
    record = records.unseal(events[1])
    assert isinstance(record, records.Prediction)
    assert np.array_equal(record.inputs["x"].array(), ROWS[100:200])
    assert record.outputs["scores"].shape == (100, 2)
    assert (record.version, record.error, record.fallback) == (made.champion, None, None)


def test_nobody_judges_what_was_scored_offline(
    call: command_line.Call, made: serving.Project, tmp_path: Path
) -> None:
    path = scoring.write(tmp_path / "in.npz", ROWS)
    more = ("--log", "--version", made.candidate, "--batch-rows", "10")
    assert call(*ask(made, path, tmp_path / "out.npz", *more)).code == 0
    events = logged(made)
    state = states.State.empty(made.tree)
    # Whoever asked for what is known of a version would fail: nobody knows one.
    fold = intake.Intake(state, made.tree, None)
    history = facts.History("tiny")
    for event in events:
        fold.take(event)
        history.add(event)

    assert len(events) == 30
    assert (state.events, state.recent, state.live, state.on_trial) == ({}, {}, {}, [])
    assert (history.state, history._answered) == (None, 0)
