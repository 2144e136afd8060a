"""Put a job of offline scoring together: version, source, folder of parts, log."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from coppice import artifact, errors, records, runtime, settings
from coppice_cli import compose, versions
from service import (
    batch,
    batch_columns,
    batch_events,
    batch_inputs,
    batch_job,
    batch_outputs,
    batch_rows,
)

Tell: TypeAlias = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for."""

    source: Path
    output: Path
    version: str = "champion"
    batch_rows: int = 256
    threads: int = 1
    columns: tuple[str, ...] = ()
    id_name: str | None = None
    on_error: batch_job.OnError = "stop"
    log: bool = False
    overwrite: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it."""

    output: str
    version: str
    rows: int
    skipped: int
    resumed_rows: int
    """Rows that an earlier run of the same job had answered."""


def score(tree: settings.Settings, wish: Wish, tell: Tell) -> Outcome:
    """Score a file, or go on where an earlier run of the same job ended.

    Parameters
    ----------
    tell
        Told the rows that are answered and the share of the input that is read.

    Raises
    ------
    InputError
        The input cannot be scored, or the output is there already.
    UnknownVersion
        There is no such version.
    """
    if wish.source.resolve() == wish.output.resolve():
        message = f"{wish.output} is the input, too; name another output"
        raise errors.InputError(message)
    registry, name = compose.registry_of(tree), tree.project.name
    asked = versions.tag_of(registry, name, wish.version)
    manifest = artifact.read_manifest(registry.path(asked))
    source = _source(wish, manifest)
    batch_outputs.check(wish.output, manifest, source.id_name)
    job = _job(wish, asked, manifest, source)
    with batch_job.Work.opened(wish.output, job, overwrite=wish.overwrite) as work:
        tag = work.job.version
        model = runtime.Runtime(registry.path(tag), threads=wish.threads, expected_tag=tag)
        with _ledger(tree, work.job) as ledger:
            scorer = batch.Scorer(model, work, ledger=ledger, form=wish.output.suffix)
            before = scorer.tally.rows
            scorer.run(source, lambda found: tell(found.rows, found.share))
        scorer.finish(wish.output)
        done = scorer.tally
    return Outcome(
        output=str(wish.output),
        version=tag,
        rows=done.rows,
        skipped=done.wrong,
        resumed_rows=before,
    )


def _source(wish: Wish, manifest: artifact.Manifest) -> batch_rows.Source:
    names = batch_inputs.names_of(wish.source)
    columns = batch_columns.read_columns(wish.columns, names)
    return batch_inputs.open_source(wish.source, manifest, columns=columns, id_name=wish.id_name)


def _job(
    wish: Wish, tag: str, manifest: artifact.Manifest, source: batch_rows.Source
) -> batch_job.Job:
    found = wish.source.stat()
    values = [math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in manifest.inputs]
    row_bytes = max(sum(values), source.row_bytes) + 4 * max(1, len(manifest.classes))
    return batch_job.Job(
        id=f"score-{records.uuid7()}",
        input=str(wish.source.resolve()),
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
        asked=wish.version,
        version=tag,
        columns=batch_columns.read_columns(wish.columns, batch_inputs.names_of(wish.source)),
        id_name=source.id_name,
        batch_rows=wish.batch_rows,
        part_rows=batch.part_rows(wish.batch_rows, row_bytes),
        on_error=wish.on_error,
        log=wish.log,
    )


@contextlib.contextmanager
def _ledger(tree: settings.Settings, job: batch_job.Job) -> Iterator[batch_events.Ledger | None]:
    if not job.log:
        yield None
        return
    with compose.event_log(tree) as log:
        yield batch_events.Ledger(log, tree, job=job.id, version=job.version)
