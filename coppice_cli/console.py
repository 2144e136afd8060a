"""How things look on the terminal: two consoles, and a few ways to write numbers for people.

Results go to standard output, everything else to standard error, so that a pipe gets the results
alone. Rich leaves out colours by itself where the output is no terminal.
"""

from __future__ import annotations

import json
import math
import sys

import rich.box
import rich.console
import rich.table
import rich.text

NARROW = 80
"""Columns that every table is made to fit."""


def out() -> rich.console.Console:
    """Return the console of standard output, as it is at this moment."""
    return rich.console.Console(highlight=False, soft_wrap=False)


def err() -> rich.console.Console:
    """Return the console of standard error, as it is at this moment."""
    return rich.console.Console(stderr=True, highlight=False)


def table(
    *columns: str, title: str | None = None, numbers: tuple[str, ...] = ()
) -> rich.table.Table:
    """Return an empty table in house style; `numbers` names the columns to align right."""
    made = rich.table.Table(
        title=title,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share.

    >>> percent(0.9731), percent(None), percent(float("nan"))
    ('97.3%', '-', '-')
    """
    if share is None or math.isnan(share):
        return "-"
    return f"{100.0 * share:.{digits}f}%"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares.

    >>> interval(0.931, 0.984), interval(None, 0.5)
    ('93.1-98.4%', '-')
    """
    if low is None or high is None:
        return "-"
    return f"{100.0 * low:.1f}-{100.0 * high:.1f}%"


def duration(seconds: float) -> str:
    """Write a length of time for people.

    >>> duration(4.2e-5), duration(0.25), duration(12.4), duration(95), duration(7300)
    ('42 us', '250 ms', '12 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} us"
    if seconds < 1.0:
        milliseconds = 1000.0 * seconds
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ratio(value: float | None) -> str:
    """Write a factor.

    >>> ratio(2.314), ratio(None)
    ('2.31x', '-')
    """
    return "-" if value is None else f"{value:.2f}x"


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "time"), counted(1200, "time")
    ('1 time', '1,200 times')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def points(share: float) -> str:
    """Write a change of score with its sign; what rounds to nothing has none.

    >>> points(-0.0137), points(0.0), points(-0.00001)
    ('-1.37 points', '0.00 points', '0.00 points')
    """
    rounded = round(100.0 * share, 2)
    return f"{rounded:+.2f} points" if rounded else "0.00 points"


def plain(text: str) -> rich.text.Text:
    """Return text that is shown as it is, square brackets too."""
    return rich.text.Text(text)


def write_json(value: object) -> None:
    """Write one line of JSON to standard output, never broken at the width of the terminal."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
