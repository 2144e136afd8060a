from __future__ import annotations

import io

import rich.console

from coppice_cli import progress
from retrain.sweep import run


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


def told(done: int, what: str, phase: str, share: float = 0.0) -> run.Told:
    return run.Told(done=done, total=8, what=what, phase=phase, share=share)


def test_a_sweep_shows_all_combinations_and_the_one_at_work() -> None:
    stream = io.StringIO()
    with progress.sweep_bars(rich.console.Console(file=stream, width=120)) as tell:
        tell(told(0, "dense parent", "parent", 0.5))
        tell(told(2, "taylor 50% seed 0", "recover", 0.25))
    lines = {line[:28].strip(): line for line in stream.getvalue().splitlines()}
    assert set(lines) == {"all", "taylor 50% seed 0"}
    assert "2 of 8" in lines["all"]
    assert "25%" in lines["taylor 50% seed 0"]
    assert "recover" in lines["taylor 50% seed 0"]


def test_a_sweep_that_is_through_shows_nothing_at_work() -> None:
    stream = io.StringIO()
    with progress.sweep_bars(rich.console.Console(file=stream, width=120)) as tell:
        tell(told(7, "taylor 50% seed 0", "time"))
        tell(told(8, "", ""))
    (line,) = stream.getvalue().splitlines()
    assert "8 of 8" in line
