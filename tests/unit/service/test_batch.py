from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import errors, runtime, settings
from coppice.eventlog.memory import MemoryLog
from service import batch, batch_events, batch_job, batch_rows
from tests.support import artifacts, coded

ROWS = artifacts.rows(10)


class Parts:
    """Rows in memory, as a source; `wrong` are those of them that do not fit."""

    id_name: str | None = None

    def __init__(
        self, rows: batch_rows.Array, wrong: dict[int, str] | None = None, *, name: str = "x"
    ) -> None:
        self._rows, self._wrong, self._name = rows, wrong or {}, name
        self.rows: int | None = len(rows)

    def stretches(self, rows: int, skip: int) -> Iterator[batch_rows.Rows]:
        for first in range(skip * rows, len(self._rows), rows):
            inputs = self._rows[first : first + rows]
            numbers = np.arange(first, first + len(inputs))
            whole = batch_rows.Rows(
                numbers, {self._name: inputs}, None, [], (first + len(inputs)) / len(self._rows)
            )
            wrong = {row - first: why for row, why in self._wrong.items() if row in numbers}
            yield batch_rows.sift(whole, wrong)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> runtime.Runtime:
    folder = tmp_path_factory.mktemp("model")
    artifacts.linear_classifier(folder)
    return runtime.Runtime(folder)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> runtime.Runtime:
    """Fails on rows that begin with more than 5."""
    folder = tmp_path_factory.mktemp("failing")
    artifacts.failing_classifier(folder, above=5.0)
    return runtime.Runtime(folder)


def job(**fields: Any) -> batch_job.Job:
    """Parts of four rows, in batches of two."""
    known = {"id": "score-1", "input": "in.npz", "size": 1, "modified_ns": 1, "asked": "champion"}
    more = {"version": "tiny-a", "columns": {}, "id_name": None, "batch_rows": 2, "part_rows": 4}
    whole: dict[str, Any] = {"on_error": "stop", "log": False, **known, **more, **fields}
    return batch_job.Job(**whole)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.npz"


def score(
    model: runtime.Runtime,
    output: Path,
    source: Parts,
    *,
    ledger: batch_events.Ledger | None = None,
    **fields: Any,
) -> list[batch.Tally]:
    """Score into `output`, and return what was told."""
    told: list[batch.Tally] = []
    with batch_job.Work.opened(output, job(**fields), overwrite=False) as work:
        scorer = batch.Scorer(model, work, ledger=ledger, form=output.suffix)
        scorer.run(source, told.append)
        scorer.finish(output)
    return told


def written(output: Path) -> dict[str, Any]:
    with np.load(output, allow_pickle=False) as found:
        return dict(found)


def test_every_row_is_answered_as_the_runtime_answers_it(
    model: runtime.Runtime, output: Path
) -> None:
    score(model, output, Parts(ROWS))
    found = written(output)
    assert found["row"].tolist() == list(range(10))
    assert np.allclose(found["scores"], model.scores({"x": ROWS}), atol=1e-7)


def test_it_is_told_how_far_the_job_is_before_the_first_part_and_after_each(
    model: runtime.Runtime, output: Path
) -> None:
    told = score(model, output, Parts(ROWS, {1: "wrong"}), on_error="skip")
    assert told == [(0, 0, 0.0), (3, 1, 0.4), (7, 1, 0.8), (9, 1, 1.0)]


def test_parts_that_are_done_are_not_asked_for_again(model: runtime.Runtime, output: Path) -> None:
    begun = Parts(ROWS[:8])
    with batch_job.Work.opened(output, job(), overwrite=False) as work:
        batch.Scorer(model, work, ledger=None, form=".npz").run(begun, lambda _: None)
    changed = ROWS.copy()
    changed[:8] = np.nan  # a second look at them would be seen
    told = score(model, output, Parts(changed))
    assert [tally.rows for tally in told] == [8, 10]
    assert np.allclose(written(output)["scores"], model.scores({"x": ROWS}), atol=1e-7)


def test_a_wrong_row_stops_the_job_before_any_row_of_its_part_is_answered(
    model: runtime.Runtime, output: Path
) -> None:
    with pytest.raises(errors.InputError, match=r"in\.npz, row 5 .*: it is blue; .*skip"):
        score(model, output, Parts(ROWS, {5: "it is blue"}))
    parts = output.with_name("out.npz.partial").glob("part-*.json")
    assert [path.name for path in parts] == ["part-000000.json"]


def test_wrong_rows_are_listed_beside_the_output(model: runtime.Runtime, output: Path) -> None:
    score(model, output, Parts(ROWS, {1: "first", 9: "last"}), on_error="skip")
    assert written(output)["row"].tolist() == [0, 2, 3, 4, 5, 6, 7, 8]
    assert batch.skipped(output).read_text() == "row,reason\n1,first\n9,last\n"


def test_a_row_on_which_the_graph_fails_spoils_no_other_of_its_batch(
    failing: runtime.Runtime, output: Path
) -> None:
    rows = ROWS.copy()
    rows[3, 0] = 6.0
    score(failing, output, Parts(rows), on_error="skip")
    assert written(output)["row"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert '3,"the model cannot answer it' in batch.skipped(output).read_text()


def test_a_row_on_which_the_graph_fails_stops_the_job_where_wrong_rows_do(
    failing: runtime.Runtime, output: Path
) -> None:
    rows = ROWS.copy()
    rows[3, 0] = 6.0
    with pytest.raises(errors.InputError, match=r"row 3 .*: the model cannot answer it"):
        score(failing, output, Parts(rows))


def test_a_row_with_a_code_that_the_model_does_not_know_is_wrong(
    tmp_path: Path, output: Path
) -> None:
    coded.lookup_classifier(tmp_path / "shop")
    shop = runtime.Runtime(tmp_path / "shop")
    # The runtime would fail at 5, and take -1 for 4.
    items = np.array([[0, 1], [4, 5], [2, 3], [-1, 0], [4, 4]])
    with pytest.raises(
        errors.InputError, match=r"row 1 .*: input 'item' holds the code 5 at \[1\]"
    ):
        score(shop, output, Parts(items, name="item"))
    score(shop, output, Parts(items, name="item"), on_error="skip")
    found = written(output)
    assert found["row"].tolist() == [0, 2, 4]
    known = shop.scores({"item": items[[0, 2, 4]]})
    assert np.allclose(found["scores"], known, atol=1e-7)
    assert "holds the code -1 at [0], but the model knows only 0 to 4" in (
        batch.skipped(output).read_text()
    )


def test_a_file_without_rows_gives_an_output_with_columns(
    model: runtime.Runtime, output: Path
) -> None:
    score(model, output, Parts(ROWS[:0]))
    assert sorted(written(output)) == ["classes", "label", "row", "scores"]


def test_answers_are_in_the_log_before_their_part_is_done(
    model: runtime.Runtime, output: Path, tmp_path: Path
) -> None:
    log = MemoryLog()
    tree = settings.from_tree({"project": {"name": "tiny"}}, root=tmp_path)
    ledger = batch_events.Ledger(log, tree, job="score-1", version="tiny-a")
    seen: list[int] = []

    class Noting(Parts):
        def stretches(self, rows: int, skip: int) -> Iterator[batch_rows.Rows]:
            for stretch in super().stretches(rows, skip):
                seen.append(len(log.read("").events))
                yield stretch

    score(model, output, Noting(ROWS), ledger=ledger)
    assert [*seen, len(log.read("").events)] == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("size", "row_bytes", "rows"),
    [
        (256, 3136, 10_496),  # 32 MiB hold 10,699 rows: 41 whole batches
        (64, 10**9, 64),  # a batch is never cut
        (256, 4, 65_536),  # however small rows are, no more than MOST_ROWS
        (100_000, 4, 100_000),
        (1, 0, 65_536),
    ],
)
def test_a_part_is_whole_batches_within_the_memory(size: int, row_bytes: int, rows: int) -> None:
    assert batch.part_rows(size, row_bytes) == rows
