"""Show the phases of a long flow as bars on standard error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

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
