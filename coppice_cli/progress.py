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


@contextlib.contextmanager
def sweep_bars(screen: rich.console.Console) -> Iterator[Callable[[SweepTold], None]]:
    """Show two bars: the combinations with the time that is left, and the one that is worked on.

    What was finished before this run does not count as its speed.
    """
    columns = (
        rich.progress.TextColumn("{task.description:<28}"),
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn("{task.fields[told]}"),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    # A combination takes minutes, and the usual half minute of speed would forget the one before.
    with rich.progress.Progress(*columns, console=screen, speed_estimate_period=86_400) as shown:
        whole: rich.progress.TaskID | None = None
        current = shown.add_task("", total=1.0, told="", visible=False)

        def tell(told: SweepTold) -> None:
            nonlocal whole
            if whole is None and told.what != "dense parent":
                whole = shown.add_task("all", total=told.total, completed=told.done, told="")
            if whole is not None:
                done = f"{told.done} of {told.total}"
                shown.update(whole, completed=told.done, told=done)
            shown.update(
                current,
                description=told.what,
                completed=told.share,
                told=told.phase,
                visible=bool(told.what),
            )

        yield tell


class SweepTold(Protocol):
    """How far a sweep is: `retrain.sweep.run.Told`."""

    @property
    def done(self) -> int:
        """Combinations that are finished."""
        ...

    @property
    def total(self) -> int:
        """All combinations."""
        ...

    @property
    def what(self) -> str:
        """The one that is worked on."""
        ...

    @property
    def phase(self) -> str:
        """What is done with it now."""
        ...

    @property
    def share(self) -> float:
        """How much of that is done."""
        ...


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
