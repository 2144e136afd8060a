"""`coppice score`: answers to a whole file of rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from coppice_cli import compose, console, options

Source = Annotated[
    Path, typer.Argument(metavar="INPUT", help="Rows: .parquet, .csv, .npz or .npy.")
]
Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="Answers: .parquet, .csv or .npz.")]
Wanted = Annotated[str, typer.Option(metavar="VERSION", help="A tag, an alias, or an id's start.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INPUT=COLUMN,...",
        help="The columns of an input that do not go by its name; `age*` takes all that begin so. "
        "May be repeated.",
    ),
]
Id = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="Column that is carried through; by default `id`."),
]
BatchRows = Annotated[int, typer.Option(min=1, help="Rows that the model answers at a time.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the runtime; by default `serve.threads`.")
]
OnError = Annotated[
    Literal["stop", "skip"], typer.Option(help="What to do at a row that does not fit.")
]
Log = Annotated[bool, typer.Option("--log", help="Write the answers into the event log, too.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output, or another job's parts.")
]


def score(
    source: Source,
    output: Output,
    folder: options.Project = options.HERE,
    version: Wanted = "champion",
    columns: Columns = None,
    id_name: Id = None,
    batch_rows: BatchRows = 256,
    threads: Threads = None,
    on_error: OnError = "stop",
    log: Log = False,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Answer every row of a file, in its order, with the runtime that serves.

    The output appears whole, at the end. A job that is killed or stopped is
    resumed by the same command; rows are neither lost nor repeated.
    """
    from coppice_cli import progress, scoring

    tree = compose.settings_of(folder)
    wish = scoring.Wish(
        source=source,
        output=output,
        version=version,
        batch_rows=batch_rows,
        threads=threads or tree.serve.model_threads,
        columns=tuple(columns or ()),
        id_name=id_name,
        on_error=on_error,
        log=log,
        overwrite=overwrite,
    )
    with progress.rows_bar(console.err(), "scoring") as tell:
        done = scoring.score(tree, wish, tell)
    if as_json:
        console.write_json(dataclasses.asdict(done))
        return
    lines = [f"{done.rows:,} rows scored by {done.version} into {done.output}"]
    if done.resumed_rows:
        lines.append(f"{done.resumed_rows:,} of them by an earlier run of the same job")
    if done.skipped:
        lines.append(f"{done.skipped:,} rows skipped; {done.output}.skipped.csv says why")
    for line in lines:
        console.out().print(line, markup=False, soft_wrap=True)
