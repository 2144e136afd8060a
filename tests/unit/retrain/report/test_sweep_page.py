from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from retrain.report import sweep_page
from tests.support import sweeps


@pytest.fixture(scope="module")
def text() -> str:
    found = sweeps.usual()
    return sweep_page.render(found, sweep_page.pictures(found))


def test_what_beats_chance_stands_first(text: str) -> None:
    body = text[text.index("<body>") :]
    assert body.index("Better than random choice") < body.index("Score against measured speed")


def test_nothing_is_fetched_and_no_id_comes_twice(text: str) -> None:
    HTMLParser().feed(text)
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text) == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_both_sizes_of_a_batch_and_the_fronts_widths_are_drawn(text: str) -> None:
    # Two trades; on the front lie both amounts by taylor.
    assert text.count("<svg") == 4
    assert "Before and after: taylor, 50% removed" in text


def test_what_was_refused_is_listed_once_with_its_reason(text: str) -> None:
    assert text.count("this network has no BatchNorm") == 1
    assert "<strong>bn-scale</strong> at 50%, 75%:" in text


def test_a_sweep_that_is_not_finished_says_so() -> None:
    found = sweeps.usual()
    part = msgspec.structs.replace(found, outcomes=found.outcomes[:-2])
    drawn = sweep_page.pictures(part)
    assert "not finished" in sweep_page.render(part, drawn)
    assert "2 combinations are still to be done" in sweep_page.markdown(part)


def test_a_row_holds_every_figure() -> None:
    row = sweep_page.rows(sweeps.usual())[1]
    assert row == sweep_page.Row(
        criterion="taylor",
        amount="50%",
        seeds="2",
        # 96 and 97; half a point beside their mean makes a deviation of 0.71.
        score="96.50 ±0.71",
        drop="3.00 ±0.00",
        disagreement="6.0 ±0.0",
        gain="1.50x (1.40 to 1.70)",
        batch_gain="3.00x (2.90 to 3.20)",
        eager_gain="15.00x (14.90 to 15.20)",
        macs="4.00x less",
        parameters="2.00x less",
        graph_bytes="2.00x less",
        zipped="4.00x less",
        edge="+2.00 (+1.00 to +3.00)",
    )


def test_the_front_names_what_no_other_beats() -> None:
    found = [(each[0], each[1]) for each in sweep_page.on_front(sweeps.usual())]
    assert found == [("taylor", 0.5), ("taylor", 0.75)]


def test_where_nothing_beats_the_dense_parent_the_page_says_what_to_try() -> None:
    # Scores of at most 0.97, the dense parent's, at half its speed.
    found = sweeps.slower()
    assert sweep_page.on_front(found) == ()
    text = sweep_page.render(found, sweep_page.pictures(found))
    assert "there is no recipe to go on with. Remove more" in text
    assert text.count("<svg") == 2


def test_the_table_in_markdown_has_a_line_for_each_cell() -> None:
    lines = sweep_page.markdown(sweeps.usual()).splitlines()
    table = [line for line in lines if line.startswith(("| taylor", "| random"))]
    assert len(table) == 4
    columns = len(sweep_page.HEADS)
    assert {line.count(" | ") for line in table} == {columns - 1}
    # A bar in a reason would end its cell.
    assert "| bn-scale | 50%, 75% | this network has no BatchNorm \\| use magnitude |" in lines


def test_a_sweep_of_which_nothing_is_measured_has_a_page() -> None:
    empty = sweeps.sweep([sweeps.outcome("bn-scale", 0.5, 3, None)])
    text = sweep_page.render(empty, sweep_page.pictures(empty))
    assert "Nothing was compared with random choice" in text


def test_answers_to_classes_differ_and_values_lie_apart() -> None:
    found = sweeps.usual()
    values = msgspec.structs.replace(found, task="regression", scale=25.0)
    assert sweep_page.heads(found).disagreement == "differs from parent, %"
    assert sweep_page.heads(values).disagreement == "distance from parent, % of the scale"
    assert sweep_page.heads(values)._replace(disagreement="") == sweep_page.HEADS._replace(
        disagreement=""
    )


def test_a_sweep_of_a_regression_says_what_a_point_is() -> None:
    values = msgspec.structs.replace(sweeps.usual(), task="regression", scale=25.0)
    said = "A row scores 1 less its error over the scale of 25 (units of the target)"
    assert said in sweep_page.markdown(values)
    assert said in sweep_page.render(values, sweep_page.pictures(values))
    assert "the scale" not in sweep_page.markdown(sweeps.usual())
    assert "the scale" not in sweep_page.render(sweeps.usual(), ())


def test_a_loss_of_next_to_nothing_has_no_sign() -> None:
    # -0.000001 points, as values that are summed in another order give.
    outcome = sweeps.outcome("taylor", 0.5, 1, 0.9)
    assert outcome.measured is not None
    none = msgspec.structs.replace(outcome.measured.against_null, drop=-1e-8)
    measured = msgspec.structs.replace(outcome.measured, against_null=none)
    found = sweeps.sweep([msgspec.structs.replace(outcome, measured=measured)])
    assert sweep_page.rows(found)[0].drop == "0.00"
