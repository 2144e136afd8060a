from __future__ import annotations

import numpy as np
import pytest

from monitoring import slice_loss
from monitoring.slice_loss import SliceLoss

ACCEPTED = 0.95
SLICES = [("pen=ink", "light=low")] * 100 + [("pen=ink",)] * 100 + [("pen=lead",)] * 200
"""Four hundred rows: half of them in ink, and half of these in low light."""


def scores(*, low: float, other: float) -> np.ndarray:
    """So large a share of the 100 rows in low light is right, and of the 300 others."""
    found = np.zeros(400)
    found[: round(100 * low)] = 1.0
    found[100 : 100 + round(300 * other)] = 1.0
    # The others' errors spread evenly over both pens.
    return np.concatenate([found[:100], np.random.default_rng(0).permutation(found[100:])])


CHAMPION = scores(low=0.55, other=0.95)
PARENT = scores(low=0.94, other=0.95)


def test_the_slice_that_lost_is_found_with_what_each_version_lost_there() -> None:
    # Without the 100 rows in low light the rest is at 95%, as accepted. All rows in ink explain the
    # decay too, but only because those in low light are half of them.
    found = slice_loss.worst(CHAMPION, {"pruning": PARENT}, SLICES, accepted=ACCEPTED)
    assert found is not None
    assert (found.name, found.share) == ("light=low", 0.25)
    assert found.champion == pytest.approx(0.40)  # 0.95 - 0.55
    assert found.others == pytest.approx({"pruning": 0.01})  # 0.95 - 0.94


def test_it_is_told_in_points() -> None:
    found = SliceLoss("low-light", 0.25, 0.041, {"pruning": 0.003, "release": 0.038})
    assert found.words() == (
        "It sits in slice low-light (25% of the rows): there the champion lost 4.1 points, "
        "its dense parent lost 0.3, the previous champion lost 3.8."
    )


def test_a_version_that_is_better_there_than_accepted_lost_nothing() -> None:
    words = SliceLoss("low-light", 0.25, 0.041, {"pruning": -0.02}).words()
    assert "its dense parent lost nothing" in words


def test_a_decay_everywhere_sits_in_no_slice() -> None:
    champion = scores(low=0.80, other=0.80)
    assert slice_loss.worst(champion, {}, SLICES, accepted=ACCEPTED) is None


def test_a_slice_that_leaves_more_than_half_of_the_decay_does_not_explain_it() -> None:
    # The mean is 0.25 * 0.70 + 0.75 * 0.85 = 0.8125, a decay of 13.75 points; without the slice
    # 10 of them are left.
    champion = scores(low=0.70, other=0.85)
    assert slice_loss.worst(champion, {}, SLICES, accepted=ACCEPTED) is None


def test_a_few_bad_rows_are_no_slice_to_speak_of() -> None:
    # Nine rows, one below the fewest that are compared.
    champion = np.array([0.0] * 9 + [1.0] * 91)
    slices = [("rare",)] * 9 + [()] * 91
    assert slice_loss.worst(champion, {}, slices, accepted=ACCEPTED) is None


def test_a_difference_within_chance_is_not_told() -> None:
    # 10 rows at 80% and 90 at 94.4%: the standard error is sqrt(0.16 / 10 + 0.052 / 90) = 0.13, and
    # three of them are more than the 14 points between the two.
    champion = np.array([0.0] * 2 + [1.0] * 8 + [0.0] * 5 + [1.0] * 85)
    slices = [("rare",)] * 10 + [()] * 90
    assert slice_loss.worst(champion, {}, slices, accepted=ACCEPTED) is None


def test_where_every_row_is_in_the_slice_there_is_nothing_to_compare_it_with() -> None:
    assert slice_loss.worst(CHAMPION, {}, [("all rows",)] * 400, accepted=ACCEPTED) is None


def test_a_champion_as_good_as_accepted_has_no_worst_slice() -> None:
    assert slice_loss.worst(PARENT, {}, SLICES, accepted=0.94) is None


def test_no_rows_have_no_worst_slice() -> None:
    assert slice_loss.worst(np.empty(0), {}, [], accepted=ACCEPTED) is None


def test_a_version_that_could_not_be_replayed_is_not_spoken_of() -> None:
    found = slice_loss.worst(
        CHAMPION, {"pruning": PARENT, "release": np.empty(0)}, SLICES, accepted=ACCEPTED
    )
    assert found is not None
    assert list(found.others) == ["pruning"]
