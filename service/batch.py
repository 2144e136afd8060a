"""Offline scoring: a file of rows in, a file of answers out, by the runtime that serves.

Called by `coppice score`; takes an open source, a loaded version and the job's folder; gives a
tally. One stretch of rows is in memory at a time: read, sifted, answered in batches, committed as a
part. The parts become the output at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from coppice import artifact, errors, runtime
from service import batch_events, batch_job, batch_outputs, batch_rows

STRETCH_BYTES = 32 * 2**20
"""Inputs and answers in memory at a time, bytes, unless a single batch takes more."""
MOST_ROWS = 65_536


class Tally(NamedTuple):
    """How far a job is."""

    rows: int
    """Rows that are answered."""
    wrong: int
    """Rows that were passed over."""
    share: float
    """Share of the input that is read."""


Tell: TypeAlias = Callable[[Tally], None]


class Scorer:
    """Answers the rows of a file.

    Parameters
    ----------
    model
        Who answers.
    work
        The job's folder; what is done in it is not done again.
    ledger
        Where answers are logged, too; `None` where they are not.
    form
        The ending of the output's name.
    """

    def __init__(
        self,
        model: runtime.Runtime,
        work: batch_job.Work,
        *,
        ledger: batch_events.Ledger | None,
        form: str,
    ) -> None:
        self._model = model
        self._work = work
        self._job = work.job
        self._ledger = ledger
        self._form = form

    @property
    def tally(self) -> Tally:
        """How far the job is."""
        parts = self._work.parts
        return Tally(
            rows=sum(part.rows for part in parts),
            wrong=sum(len(part.wrong) for part in parts),
            share=parts[-1].share if parts else 0.0,
        )

    def run(self, source: batch_rows.Source, tell: Tell) -> None:
        """Answer what is not answered yet, part by part.

        Parameters
        ----------
        source
            The file of rows.
        tell
            Told after each part.

        Raises
        ------
        InputError
            The file breaks off, or holds a wrong row and the job stops at these.
        ArtifactError
            The graph fails.
        LogFull
            The answers cannot be logged.
        """
        tell(self.tally)
        for stretch in source.stretches(self._job.part_rows, len(self._work.parts)):
            self._part(stretch)
            tell(self.tally)
        if not self._work.parts:  # an output without rows has columns, too
            self._part(batch_outputs.blank(self._model.manifest))

    def _part(self, stretch: batch_rows.Rows) -> None:
        known = self._known(stretch)
        self._stop_at(known.wrong)
        found = self._sifted(known)
        self._stop_at(found.rows.wrong)
        if self._ledger is not None and found.batches:
            self._ledger.write(found.batches)
        self._work.commit(
            batch_outputs.part(self._columns(found.rows, found.scores), self._form),
            batch_job.Part(
                rows=len(found.rows.numbers), share=stretch.share, wrong=found.rows.wrong
            ),
        )

    def _columns(
        self, rows: batch_rows.Rows, scores: runtime.Floats
    ) -> dict[str, batch_rows.Array]:
        manifest = self._model.manifest
        return batch_outputs.columns(rows, scores, manifest, self._job.id_name, self._form)

    def _known(self, stretch: batch_rows.Rows) -> batch_rows.Rows:
        """Take out rows with codes at which the graph fails, or answers for another code."""
        unknown = artifact.unknown_codes(self._model.manifest, stretch.inputs)
        return batch_rows.sift(stretch, dict(unknown))

    def _stop_at(self, wrong: list[tuple[int, str]]) -> None:
        if wrong and self._job.on_error == "stop":
            row, reason = wrong[0]
            message = (
                f"{self._job.input}, row {row} (the first is 0): {reason}; mend the file, or pass "
                "over such rows with --on-error skip"
            )
            raise errors.InputError(message)

    def _sifted(self, stretch: batch_rows.Rows) -> _Answered:
        """Answer a stretch; rows that the graph cannot answer are wrong, too."""
        batches: list[batch_events.Batch] = []
        failed: dict[int, str] = {}
        for place, batch in self._batches(stretch):
            if isinstance(batch, errors.ArtifactError):
                failed[place] = f"the model cannot answer it: {batch}"
            else:
                batches.append(batch)
        answers = [batch.answers.scores for batch in batches]
        blank = batch_outputs.blank_scores(self._model.manifest)
        scores = np.concatenate(answers) if answers else blank
        return _Answered(batch_rows.sift(stretch, failed), scores, batches)

    def _batches(
        self, stretch: batch_rows.Rows
    ) -> Iterator[tuple[int, batch_events.Batch | errors.ArtifactError]]:
        rows, size = len(stretch.numbers), self._job.batch_rows
        for first in range(0, rows, size):
            last = min(rows, first + size)
            try:
                yield first, self._answer(stretch, first, last)
            except errors.ArtifactError:
                # One row may have spoilt it for the others.
                for place in range(first, last):
                    try:
                        yield place, self._answer(stretch, place, place + 1)
                    except errors.ArtifactError as cause:
                        yield place, cause

    def _answer(self, stretch: batch_rows.Rows, first: int, last: int) -> batch_events.Batch:
        inputs = {name: array[first:last] for name, array in stretch.inputs.items()}
        began = time.perf_counter()
        if self._ledger is None:
            scores = self._model.scores(inputs)
            answers = runtime.Answers(scores, np.empty((len(scores), 0), dtype=np.float32))
        else:
            answers = self._model.predict(inputs)
        seconds = time.perf_counter() - began
        return batch_events.Batch(int(stretch.numbers[first]), inputs, answers, seconds)

    def finish(self, output: Path) -> None:
        """Put the output together, and give it its name; rows passed over are listed beside it."""
        manifest = self._model.manifest
        made = self._work.scratch
        names = self._columns(batch_outputs.blank(manifest), batch_outputs.blank_scores(manifest))
        batch_outputs.join(
            [self._work.path(number) for number in range(len(self._work.parts))],
            made,
            self._form,
            names=list(names),
            manifest=manifest,
            version=self._model.tag,
        )
        wrong = [one for part in self._work.parts for one in part.wrong]
        batch_outputs.list_wrong(wrong, skipped(output))
        self._work.finish(made, output)


class _Answered(NamedTuple):
    rows: batch_rows.Rows
    scores: runtime.Floats
    batches: list[batch_events.Batch]


def skipped(output: Path) -> Path:
    """Return the file that lists the rows which an output lacks.

    >>> skipped(Path("scores.parquet")).name
    'scores.parquet.skipped.csv'
    """
    return output.with_name(f"{output.name}.skipped.csv")


def part_rows(batch: int, row_bytes: int) -> int:
    """Return how many rows are held in memory at once: whole batches, about `STRETCH_BYTES`.

    >>> part_rows(256, 3136), part_rows(64, 10**9)
    (10496, 64)

    Parameters
    ----------
    batch
        Rows of a batch.
    row_bytes
        Bytes of a row's inputs and answers.
    """
    rows = min(MOST_ROWS, STRETCH_BYTES // max(1, row_bytes))
    return max(batch, rows // batch * batch)
