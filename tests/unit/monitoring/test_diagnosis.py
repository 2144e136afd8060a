from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitoring import diagnosis
from monitoring.diagnosis import Diagnosis

ROWS = 400


def right(rows: int, *, wrong: range) -> np.ndarray:
    """Scores of a version that is wrong on a stretch of the rows and right on all others."""
    scores = np.ones(rows)
    scores[wrong.start : wrong.stop] = 0.0
    return scores


CHAMPION = right(ROWS, wrong=range(60))
"""85% right, accepted at 95%: a decay of 10 points, of which 5 would explain half."""
AS_ACCEPTED = right(ROWS, wrong=range(20))
AS_BAD = right(ROWS, wrong=range(60))
DECAY = 0.10


def diagnose(
    champion: np.ndarray = CHAMPION,
    parent: np.ndarray | None = AS_BAD,
    previous: np.ndarray | None = AS_BAD,
    decay: float = DECAY,
) -> Diagnosis:
    return diagnosis.diagnose(champion, parent, previous, decay=decay)


class TestCause:
    def test_only_the_parent_is_as_good_as_ever_so_it_is_the_pruning(self) -> None:
        assert diagnose(parent=AS_ACCEPTED).cause == "pruning"

    def test_only_the_previous_champion_is_as_good_as_ever_so_it_is_the_release(self) -> None:
        assert diagnose(previous=AS_ACCEPTED).cause == "release"

    def test_all_are_as_bad_so_it_is_the_world(self) -> None:
        assert diagnose().cause == "world"

    def test_where_both_are_as_good_as_ever_it_is_the_pruning_and_going_back_helps(self) -> None:
        found = diagnose(parent=AS_ACCEPTED, previous=AS_ACCEPTED)
        assert (found.cause, found.retreat) == ("pruning", True)
        assert "going back to the previous champion helps at once" in found.reason

    def test_going_back_does_not_help_where_the_previous_champion_is_as_bad(self) -> None:
        found = diagnose(parent=AS_ACCEPTED, previous=AS_BAD)
        assert (found.cause, found.retreat) == ("pruning", False)

    def test_a_release_that_decays_is_a_reason_to_go_back(self) -> None:
        assert diagnose(previous=AS_ACCEPTED).retreat

    def test_a_previous_champion_that_makes_up_for_little_of_the_decay_is_no_reason_to_go_back(
        self,
    ) -> None:
        # It is better on 15 rows of 400 (p = 2^-15; Holm leaves the largest as it is), or 3.75
        # points, where half of the decay is 5.
        found = diagnose(parent=AS_ACCEPTED, previous=right(ROWS, wrong=range(45)))
        assert found.p_values["release"] == pytest.approx(2.0**-15)
        assert (found.cause, found.retreat) == ("pruning", False)

    def test_a_small_loss_that_was_accepted_does_not_hide_that_the_world_moved(self) -> None:
        # The parent is better by 8 rows of 1,000, beyond chance (p = 2^-8) but 0.8 of 20 points.
        champion = right(1000, wrong=range(250))
        parent = right(1000, wrong=range(242))
        found = diagnose(champion, parent, None, decay=0.20)
        assert found.p_values["pruning"] == pytest.approx(2.0**-8)
        assert found.cause == "world"

    def test_with_no_other_version_only_the_world_is_left(self) -> None:
        found = diagnose(parent=None, previous=None)
        assert found.cause == "world"
        assert "no other version to blame" in found.reason


class TestUsual:
    """What the champion was accepted with explains no decay."""

    CHAMPION = right(ROWS, wrong=range(52))
    """87% right, accepted at 95%: a decay of 8 points, of which 4 would explain half."""
    PARENT = right(ROWS, wrong=range(32))
    """5 points better (p = 2^-20)."""

    def test_a_gap_that_was_accepted_does_not_hide_that_the_world_moved(self) -> None:
        found = diagnosis.diagnose(
            self.CHAMPION, self.PARENT, None, decay=0.08, usual={"pruning": 0.05}
        )
        # 5 points better, 5 of them usual; even the upper bound, 2 points more, is below 4.
        assert found.cause == "world"
        assert "5.0 points better (p < 0.0001), of which 5.0 points are usual" in found.reason

    def test_the_same_gap_is_the_pruning_where_it_is_new(self) -> None:
        found = diagnosis.diagnose(self.CHAMPION, self.PARENT, None, decay=0.08)
        assert found.cause == "pruning"
        assert "usual" not in found.reason

    def test_a_gap_that_has_grown_by_half_of_the_decay_is_the_pruning(self) -> None:
        # 5 points, of which 0.5 are usual: 4.5 more, where 4 explain half. The lower bound of the
        # advantage is 5 - 1.64 * 0.24 / 20 = 3 points, beyond what was usual.
        found = diagnosis.diagnose(
            self.CHAMPION, self.PARENT, None, decay=0.08, usual={"pruning": 0.005}
        )
        assert found.cause == "pruning"

    def test_a_parent_that_was_worse_when_the_champion_was_accepted_counts_as_equal(self) -> None:
        found = diagnosis.diagnose(
            self.CHAMPION, AS_BAD, None, decay=0.08, usual={"pruning": -0.05}
        )
        # AS_BAD is 2 points worse than this champion: no reason to call it 3 points better.
        assert found.cause == "world"


class TestBothExplain:
    def test_a_parent_that_is_itself_worse_than_the_previous_champion_is_the_release(self) -> None:
        # Of a decay of 20 points the parent makes up for 10 and the previous champion for all.
        champion, parent = right(ROWS, wrong=range(100)), right(ROWS, wrong=range(60))
        found = diagnose(champion, parent, AS_ACCEPTED, decay=0.20)
        assert (found.cause, found.retreat) == ("release", True)

    def test_a_previous_champion_that_is_a_little_better_than_the_parent_changes_nothing(
        self,
    ) -> None:
        # Better than the parent by 5 of 20 points, less than half.
        champion, parent = right(ROWS, wrong=range(100)), right(ROWS, wrong=range(40))
        found = diagnose(champion, parent, AS_ACCEPTED, decay=0.20)
        assert (found.cause, found.retreat) == ("pruning", True)


class TestRegression:
    """Scores between 0 and 1: one minus the error over the scale."""

    def test_a_parent_that_errs_less_on_most_rows_is_the_pruning(self) -> None:
        # Half as large an error on every row: 0.10 better in the mean, of a decay of 0.12.
        errors = np.random.default_rng(0).uniform(0.1, 0.3, size=200)
        found = diagnose(1.0 - errors, 1.0 - errors / 2.0, None, decay=0.12)
        assert found.cause == "pruning"
        assert found.advantages["pruning"] == pytest.approx(0.10, abs=0.01)

    def test_errors_of_the_same_size_are_the_world(self) -> None:
        rng = np.random.default_rng(1)
        champion, parent = (1.0 - rng.uniform(0.1, 0.3, size=200) for _ in range(2))
        assert diagnose(champion, parent, None, decay=0.12).cause == "world"

    def test_few_large_errors_outweigh_many_tiny_ones(self) -> None:
        # The parent is worse by 0.01 on 150 rows and better by 0.5 on 50: better by 0.1175 in the
        # mean. A test that counted rows alone would find it worse.
        champion = np.array([0.9] * 150 + [0.4] * 50)
        parent = np.array([0.89] * 150 + [0.9] * 50)
        found = diagnose(champion, parent, None, decay=0.12)
        assert found.advantages["pruning"] == pytest.approx(0.1175)
        assert found.cause == "pruning"


class TestUndecided:
    def test_too_few_rows_say_how_many_are_missing(self) -> None:
        found = diagnose(CHAMPION[:45], AS_BAD[:45], None)
        assert (found.cause, found.labels_needed) == ("undecided", 15)

    def test_few_rows_that_differ_nowhere_do_not_prove_that_the_world_moved(self) -> None:
        # Champion and parent agree on 60 rows. A parent better on 2.5% of all rows would show
        # nothing in 60 of them with chance 0.975^60 = 22%: no proof that it is not.
        champion = right(60, wrong=range(6))
        found = diagnose(champion, champion, None, decay=0.05)
        assert found.cause == "undecided"
        assert found.labels_needed > 0

    def test_an_advantage_that_may_be_luck_is_not_blamed(self) -> None:
        # 5 rows of 60 for the parent, 1 against: p = 7/64 = 0.11.
        champion = right(60, wrong=range(10))
        parent = right(60, wrong=range(5))
        parent[59] = 0.0
        found = diagnose(champion, parent, None)
        assert found.p_values["pruning"] == pytest.approx(7 / 64)
        assert found.cause == "undecided"

    def test_the_number_of_labels_it_asks_for_is_enough(self) -> None:
        # The same shares of differing rows, in a window that is larger by what was asked for.
        champion, parent = right(60, wrong=range(10)), right(60, wrong=range(5))
        parent[59] = 0.0
        asked = diagnose(champion, parent, None).labels_needed
        times = math.ceil((60 + asked) / 60)
        again = diagnose(np.tile(champion, times), np.tile(parent, times), None)
        assert again.cause == "pruning"

    def test_a_version_that_could_not_be_replayed_leaves_it_open(self) -> None:
        found = diagnose(parent=np.array([]), previous=AS_BAD)
        assert found.cause == "undecided"
        assert "its dense parent could not be replayed" in found.reason

    def test_without_decay_in_the_window_nothing_is_blamed(self) -> None:
        found = diagnose(parent=AS_ACCEPTED, decay=-0.01)
        assert found.cause == "undecided"
        assert "as well as when accepted" in found.reason


class TestReason:
    def test_it_says_who_does_better_by_how_much_and_what_follows(self) -> None:
        assert diagnose(parent=AS_ACCEPTED).reason == (
            "On the last 400 labelled rows the champion scores 85.0%, 10.0 points below what was "
            "accepted; its dense parent scores 10.0 points better (p < 0.0001); the previous "
            "champion scores the same. The cause is the pruning."
        )

    def test_an_open_case_says_how_many_labels_should_tell(self) -> None:
        champion = right(60, wrong=range(6))
        found = diagnose(champion, champion, None, decay=0.05)
        assert f"about {found.labels_needed} more labelled rows should tell" in found.reason

    def test_the_advantages_are_given_as_numbers(self) -> None:
        found = diagnose(parent=AS_ACCEPTED, previous=right(ROWS, wrong=range(80)))
        assert found.advantages == pytest.approx({"pruning": 0.10, "release": -0.05})


class TestSignFlip:
    @given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30))
    def test_for_right_and_wrong_it_is_the_exact_mcnemar_test(
        self, better: int, worse: int, same: int
    ) -> None:
        # One-sided: the chance of at least `better` heads in better + worse fair coins.
        differences = np.array([1.0] * better + [-1.0] * worse + [0.0] * same)
        expected = stats.binom.sf(better - 1, better + worse, 0.5)
        assert diagnosis.sign_flip(differences) == pytest.approx(expected, abs=1e-12)

    def test_for_fractions_it_counts_the_sign_patterns_that_do_at_least_as_well(self) -> None:
        # Of the 8 sums of +-0.5 +-0.3 +-0.1, those at least 0.5 - 0.3 + 0.1 = 0.3 are 0.9, 0.7,
        # 0.3: 3 of 8.
        assert diagnosis.sign_flip(np.array([0.5, -0.3, 0.1])) == pytest.approx(3 / 8)

    def test_without_any_difference_nothing_is_shown(self) -> None:
        assert diagnosis.sign_flip(np.zeros(50)) == pytest.approx(1.0)

    def test_many_rows_underflow_to_nothing_instead_of_failing(self) -> None:
        assert 0.0 <= diagnosis.sign_flip(np.ones(2000)) < 1e-300

    @settings(max_examples=30)
    @given(st.lists(st.integers(-100, 100), min_size=1, max_size=12))
    def test_both_sides_together_cover_every_pattern(self, hundredths: list[int]) -> None:
        # P(sum >= x) + P(-sum >= -x) = 1 + P(sum = x), so it lies in [1, 2].
        differences = np.array(hundredths) / 100.0
        both = diagnosis.sign_flip(differences) + diagnosis.sign_flip(-differences)
        assert 1.0 - 1e-9 <= both <= 2.0 + 1e-9


class TestHolm:
    def test_the_smallest_is_multiplied_by_the_number_of_comparisons(self) -> None:
        assert diagnosis.holm({"a": 0.01, "b": 0.5}) == pytest.approx({"a": 0.02, "b": 0.5})

    def test_an_adjusted_value_is_never_below_a_smaller_ones(self) -> None:
        # 0.03 * 2 = 0.06; 0.04 * 1 = 0.04 would undercut it.
        assert diagnosis.holm({"a": 0.04, "b": 0.03}) == pytest.approx({"a": 0.06, "b": 0.06})

    def test_it_never_exceeds_one(self) -> None:
        assert diagnosis.holm({"a": 0.9, "b": 0.8}) == pytest.approx({"a": 1.0, "b": 1.0})

    def test_nothing_stays_nothing(self) -> None:
        assert diagnosis.holm({}) == {}


class TestErrorRates:
    def test_versions_that_are_no_better_are_rarely_blamed(self) -> None:
        # Champion, parent and previous err independently on 15% of 200 rows: all equally bad.
        # alpha = 0.05 over both comparisons: of 400 windows at most binom.ppf(0.999, 400, 0.05).
        rng = np.random.default_rng(0)
        causes = Counter(_independent(rng, rates=(0.85, 0.85, 0.85)) for _ in range(400))
        assert causes["pruning"] + causes["release"] <= stats.binom.ppf(0.999, 400, 0.05)

    def test_the_world_is_rarely_blamed_for_what_the_pruning_did_to_half(self) -> None:
        # The parent is truly better by exactly half of the decay: there "world" becomes true. The
        # bound on its advantage is approximate (see "plus four"), so 1.5 alpha is granted.
        rng = np.random.default_rng(1)
        causes = Counter(_independent(rng, rates=(0.85, 0.90, 0.85)) for _ in range(400))
        assert causes["world"] <= stats.binom.ppf(0.999, 400, 1.5 * 0.05)


def _independent(rng: np.random.Generator, rates: tuple[float, float, float]) -> str:
    champion, parent, previous = ((rng.random(200) < rate).astype(float) for rate in rates)
    return diagnose(champion, parent, previous, decay=DECAY).cause


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        (np.ones(399), "its dense parent has 399 rows, the champion 400"),
        (np.full(400, math.nan), r"scores lie in \[0, 1\]"),
        (np.full(400, 1.5), r"scores lie in \[0, 1\]"),
    ],
)
def test_replays_that_do_not_fit_are_refused(parent: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagnose(parent=parent)
