from __future__ import annotations

import pytest

from retrain.evaluate import multiple


def test_the_smallest_chance_pays_for_all_and_the_largest_for_itself() -> None:
    # 0.01 * 3, 0.02 * 2, 0.9 * 1.
    assert multiple.holm({"a": 0.9, "b": 0.01, "c": 0.02}) == pytest.approx(
        {"a": 0.9, "b": 0.03, "c": 0.04}
    )


def test_an_adjusted_chance_is_never_below_that_of_a_surer_question() -> None:
    # 0.02 * 2 = 0.04, and 0.03 * 1 = 0.03 is lifted to it.
    assert multiple.holm({"a": 0.02, "b": 0.03}) == pytest.approx({"a": 0.04, "b": 0.04})


def test_a_chance_stays_a_chance() -> None:
    assert multiple.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_one_question_needs_no_correction_and_none_gives_none() -> None:
    assert multiple.holm({"a": 0.04}) == {"a": 0.04}
    assert multiple.holm({}) == {}
