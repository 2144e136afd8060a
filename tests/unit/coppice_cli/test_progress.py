from __future__ import annotations

import io

import rich.console

from coppice_cli import progress


def test_every_phase_is_a_line_in_the_order_told() -> None:
    stream = io.StringIO()
    with progress.bars(rich.console.Console(file=stream, width=80)) as tell:
        tell("data", 0.0)
        tell("data", 1.0)
        tell("null control", 0.5)
    lines = stream.getvalue().splitlines()
    assert [line[:12].strip() for line in lines] == ["data", "null control"]
    assert "100%" in lines[0]
    assert "50%" in lines[1]
