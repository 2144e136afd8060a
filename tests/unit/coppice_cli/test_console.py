from __future__ import annotations

import json
import math

import pytest

from coppice_cli import console


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0%"), (1.0, "100.0%"), (0.97349, "97.3%"), (math.nan, "-")]
)
def test_a_share_is_written_in_percent(share: float, text: str) -> None:
    assert console.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 us"),
        (0.00099, "990 us"),
        (0.001, "1.0 ms"),
        (0.0099, "9.9 ms"),
        (0.999, "999 ms"),
        (1.0, "1 s"),
        (59.4, "59 s"),
        (60.0, "1 min 0 s"),
        (3599.0, "59 min 59 s"),
        (3600.0, "1 h 0 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_a_time_is_written_in_the_largest_units_that_fit(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_an_open_interval_is_a_dash() -> None:
    assert console.interval(0.5, None) == "-"


def test_a_factor_has_two_digits() -> None:
    assert console.ratio(1.999) == "2.00x"


def test_text_with_square_brackets_survives(capsys: pytest.CaptureFixture[str]) -> None:
    table = console.table("what")
    table.add_row(console.plain("[bold] is [no] markup"))
    console.out().print(table)
    assert "[bold] is [no] markup" in capsys.readouterr().out


def test_numbers_are_aligned_right(capsys: pytest.CaptureFixture[str]) -> None:
    table = console.table("name", "rows", numbers=("rows",))
    table.add_row("a", "1")
    table.add_row("b", "1000")
    console.out().print(table)
    assert "    1" in capsys.readouterr().out


def test_a_line_of_json_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_json({"text": "x" * 500})
    assert json.loads(capsys.readouterr().out) == {"text": "x" * 500}


def test_results_and_the_rest_go_to_different_streams(capsys: pytest.CaptureFixture[str]) -> None:
    console.out().print("result")
    console.err().print("remark")
    assert capsys.readouterr() == ("result\n", "remark\n")
