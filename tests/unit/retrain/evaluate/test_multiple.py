from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
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


def test_among_true_questions_a_false_alarm_is_as_rare_as_promised() -> None:
    random = np.random.default_rng(0)
    worlds = random.uniform(size=(2000, 8))
    alarms = sum(min(multiple.holm(dict(enumerate(world))).values()) <= 0.05 for world in worlds)
    # 1 - (1 - 0.05 / 8)^8 is 4.9% of 2000: 98, with a spread of 9.7.
    assert alarms <= 98 + 4 * 9.7


@hypothesis.given(chances=st.dictionaries(st.text(max_size=3), st.floats(0.0, 1.0), max_size=8))
def test_order_is_kept_and_nothing_becomes_surer(chances: dict[str, float]) -> None:
    adjusted = multiple.holm(chances)
    assert list(adjusted) == list(chances)
    assert all(chances[name] <= adjusted[name] <= 1.0 for name in chances)
    by_chance = sorted(chances, key=chances.__getitem__)
    assert [adjusted[name] for name in by_chance] == sorted(adjusted.values())
