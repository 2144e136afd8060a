"""Show how far a long flow is, as bars on standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import rich.console
import rich.progress

Tell: TypeAlias = Callable[[str, float], None]
"""Told a phase and the share of it that is done."""


@contextlib.contextmanager
def bars(screen: rich.console.Console) -> Iterator[Tell]:
    """Show one bar for each phase, in the order in which they are first told of.

    Into a pipe, which cannot redraw, each phase is one line when the flow ends.
    """
    columns = (
        rich.progress.TextColumn("{task.description:<14}"),
        rich.progress.BarColumn(bar_width=30),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=screen) as shown:
        tasks: dict[str, rich.progress.TaskID] = {}

        def tell(phase: str, share: float) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(phase, total=1.0)
            shown.update(tasks[phase], completed=share)

        yield tell


class RowsTold(Protocol):
    """Is told how many rows are done, and the share of all that they are."""

    def __call__(self, rows: int, share: float) -> None:
        """Show it."""
        ...


@contextlib.contextmanager
def rows_bar(screen: rich.console.Console, what: str) -> Iterator[RowsTold]:
    """Show one bar with rows, rows a second, and the time that is left.

    The speed is that of this run: rows that are there at the first call are not counted in.
    """
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn("{task.fields[told]}"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=screen) as shown:
        task = shown.add_task(what, total=1.0, told="")
        before: int | None = None
        began = time.monotonic()

        def tell(rows: int, share: float) -> None:
            nonlocal before
            before = rows if before is None else before
            speed = (rows - before) / max(1e-9, time.monotonic() - began)
            told = f"{rows:,} rows, {speed:,.0f} rows/s"
            shown.update(task, completed=share, told=told)

        yield tell
