from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import errors
from service import batch_job
from service.batch_job import Part, Work

JOB = batch_job.Job(
    id="score-1",
    input="/data/in.parquet",
    size=10,
    modified_ns=1,
    asked="champion",
    version="tiny-aaa",
    columns={"x": ["a"]},
    id_name=None,
    batch_rows=2,
    part_rows=4,
    on_error="stop",
    log=False,
)
PARTS = (Part(rows=4, share=0.5), Part(rows=3, share=1.0, wrong=[(5, "a value is missing")]))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


@pytest.fixture
def begun(output: Path) -> Path:
    """A job that was left with both of its parts done; its folder."""
    with Work.opened(output, JOB, overwrite=False) as work:
        work.commit(b"first", PARTS[0])
        work.commit(b"second", PARTS[1])
    return output.with_name("out.csv.partial")


def changed(**fields: Any) -> batch_job.Job:
    return msgspec.structs.replace(JOB, **fields)


def test_a_new_job_has_nothing_done(output: Path) -> None:
    with Work.opened(output, JOB, overwrite=False) as work:
        assert (work.job, work.parts) == (JOB, [])


def test_parts_that_are_done_are_found_again_in_order(output: Path, begun: Path) -> None:
    with Work.opened(output, JOB, overwrite=False) as work:
        assert work.parts == list(PARTS)
        assert [work.path(number).read_bytes() for number in (0, 1)] == [b"first", b"second"]


def test_a_part_without_its_mark_is_not_done(output: Path, begun: Path) -> None:
    (begun / "part-000001.json").unlink()
    with Work.opened(output, JOB, overwrite=False) as work:
        assert work.parts == [PARTS[0]]
        work.commit(b"again", PARTS[1])
        assert work.path(1).read_bytes() == b"again"


def test_a_mark_behind_a_gap_does_not_count(output: Path, begun: Path) -> None:
    (begun / "part-000000.json").unlink()
    with Work.opened(output, JOB, overwrite=False) as work:
        assert work.parts == []


@pytest.mark.parametrize("fields", [{"id": "score-2"}, {"version": "tiny-bbb"}])
def test_a_resumed_job_keeps_its_id_and_the_version_that_began_it(
    output: Path, begun: Path, fields: dict[str, Any]
) -> None:
    with Work.opened(output, changed(**fields), overwrite=False) as work:
        assert (work.job, len(work.parts)) == (JOB, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "/data/other.parquet"},
        {"size": 11},
        {"modified_ns": 2},
        {"asked": "candidate"},
        {"columns": {"x": ["b"]}},
        {"id_name": "id"},
        {"batch_rows": 1},
        {"part_rows": 8},
        {"log": True},
    ],
)
def test_whatever_else_differs_is_another_job_and_is_named(
    output: Path, begun: Path, fields: dict[str, Any]
) -> None:
    (name,) = fields
    with (
        pytest.raises(errors.InputError, match=f"differs in {name};.*--overwrite"),
        Work.opened(output, changed(**fields), overwrite=False),
    ):
        pass
    assert (begun / "part-000001").read_bytes() == b"second"


def test_a_job_that_stopped_at_a_wrong_row_goes_on_passing_over_it(
    output: Path, begun: Path
) -> None:
    skipping = changed(on_error="skip")
    with Work.opened(output, skipping, overwrite=False) as work:
        assert (work.job, len(work.parts)) == (skipping, 2)


@pytest.mark.usefixtures("begun")
def test_a_job_that_passed_over_rows_is_not_one_that_stops_at_them(output: Path) -> None:
    with Work.opened(output, changed(on_error="skip"), overwrite=False):
        pass
    with (
        pytest.raises(errors.InputError, match="differs in on_error;"),
        Work.opened(output, JOB, overwrite=False),
    ):
        pass


def test_another_jobs_parts_are_thrown_away_on_demand(output: Path, begun: Path) -> None:
    other = changed(size=11)
    with Work.opened(output, other, overwrite=True) as work:
        assert (work.job, work.parts) == (other, [])
    assert sorted(path.name for path in begun.iterdir()) == ["job.json", "lock"]


def test_a_job_that_cannot_be_read_is_another_one(output: Path, begun: Path) -> None:
    (begun / "job.json").write_bytes(b"{")
    with (
        pytest.raises(errors.InputError, match="differs in input, size"),
        Work.opened(output, JOB, overwrite=False),
    ):
        pass


def test_parts_of_a_folder_without_a_job_are_nobodys(output: Path, begun: Path) -> None:
    (begun / "job.json").unlink()
    with Work.opened(output, JOB, overwrite=False) as work:
        assert work.parts == []


def test_an_output_that_is_there_stays_and_leaves_no_folder(output: Path) -> None:
    output.write_bytes(b"precious")
    with (
        pytest.raises(errors.InputError, match="exists; name another file, or say --overwrite"),
        Work.opened(output, JOB, overwrite=False),
    ):
        pass
    assert [path.name for path in output.parent.iterdir()] == ["out.csv"]


def test_a_job_is_held_by_one_process_at_a_time(output: Path, begun: Path) -> None:
    with (begun / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(errors.EnvironmentProblem, match="another process is writing"),
            Work.opened(output, JOB, overwrite=False),
        ):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(errors.EnvironmentProblem, match=r"out\.csv cannot be written"),
        Work.opened(tmp_path / "file" / "out.csv", JOB, overwrite=False),
    ):
        pass


def test_a_finished_output_has_its_name_and_the_folder_is_gone(output: Path) -> None:
    with Work.opened(output, JOB, overwrite=False) as work:
        work.commit(b"first", PARTS[0])
        work.scratch.write_bytes(b"whole")
        work.finish(work.scratch, output)
    assert output.read_bytes() == b"whole"
    assert [path.name for path in output.parent.iterdir()] == ["out.csv"]
