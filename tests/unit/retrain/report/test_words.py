from __future__ import annotations

import pytest

from retrain import gates
from retrain.evaluate import section
from retrain.report import words


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.5, "share", "50.00%"),
        (0.041, "points", "4.10 points"),
        (2.0, "times", "2.00x"),
        (0.0421, "s", "42.1 ms"),
        (12.5, "s", "12.5 s"),
        (12.0, "bytes", "12 bytes"),
        (3_200.0, "bytes", "3.2 KB"),
        (7e12, "bytes", "7000.0 GB"),
        (1_234_567.5, "", "1,234,568"),
        (0.00012345, "", "0.0001234"),
        (3.0, "rows", "3 rows"),
        (float("nan"), "share", "-"),
        (None, "share", "-"),
    ],
)
def test_a_number_is_written_in_its_unit(value: float | None, unit: str, text: str) -> None:
    assert words.number(value, unit) == text


def test_a_figure_without_an_interval_has_none_to_write() -> None:
    assert words.interval(section.Figure(value=0.5, low=0.4)) == ""


@pytest.mark.parametrize(
    ("name", "unit", "value", "text"),
    [
        ("score", "drop", 0.04, "-4.00 points"),
        ("score", "drop", 0.0, "+0.00 points"),
        ("privacy", "rise", 0.04, "+4.00 points"),
        ("leaked holdout", "share", 0.04, "4.00%"),
        ("latency", "times", 2.0, "2.00x"),
        ("latency", "", 2.0, "2.00x"),
        ("min score", "", 0.9, "90.00%"),
        ("slice pen=ink", "", 0.1, "-10.00 points"),
        ("privacy", "rise", None, "-"),
    ],
)
def test_a_gates_figure_is_written_as_its_reader_expects(
    name: str, unit: gates.Unit, value: float | None, text: str
) -> None:
    result = gates.GateResult(
        name=name, passed=True, figure=value, threshold=0.0, sentence="", unit=unit
    )
    assert words.gate_value(result, value) == text


def test_cells_keep_texts_and_shorten_numbers() -> None:
    assert [words.cell(cell) for cell in ("<b>", 1234, 0.98765, None, True)] == [
        "<b>",
        "1,234",
        "0.9877",
        "-",
        "True",
    ]
