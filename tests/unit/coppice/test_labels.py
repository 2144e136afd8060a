from __future__ import annotations

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from coppice import errors, labels, records

CLASSES = ("dog", "cat", "7")
UNIT = strategies.floats(0, 1, width=32)


def probabilities(rows: int, classes: int) -> strategies.SearchStrategy[npt.NDArray[np.float64]]:
    return arrays.arrays(np.float64, (rows, classes), elements=UNIT)


class TestUnitInterval:
    def test_it_is_the_same_in_every_process(self) -> None:
        # BLAKE2b of 8 bytes with the key "key" of 03 00 00 00 "abc" (length, then text) is
        # 5264f9255aea6e5e; read as a little-endian number, without its lowest 11 bits, over 2^53.
        expected = (int.from_bytes(bytes.fromhex("5264f9255aea6e5e"), "little") >> 11) / 2**53

        assert labels.unit_interval("key", "abc") == expected

    def test_numbers_lie_in_the_interval_and_spread_evenly(self) -> None:
        draws = np.array([labels.unit_interval("key", str(n)) for n in range(4000)])

        assert draws.min() >= 0.0
        assert draws.max() < 1.0
        # Mean of n uniform numbers: standard error 1 / sqrt(12 n) = 0.0046; 4 of them.
        assert abs(draws.mean() - 0.5) < 4 / np.sqrt(12 * 4000)

    def test_even_the_largest_hash_stays_below_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full:
            def update(self, _: bytes) -> None: ...

            def digest(self) -> bytes:
                return b"\xff" * 8

        monkeypatch.setattr("hashlib.blake2b", lambda **_: Full())

        assert labels.unit_interval("key", "x") < 1.0

    def test_another_key_gives_another_number(self) -> None:
        assert labels.unit_interval("a", "x") != labels.unit_interval("b", "x")

    def test_parts_do_not_run_into_each_other(self) -> None:
        assert labels.unit_interval("key", "ab", "c") != labels.unit_interval("key", "a", "bc")

    @pytest.mark.parametrize("text", ["", "ü", "\ud800", "x" * 10_000])
    def test_any_text_of_a_client_is_hashed(self, text: str) -> None:
        assert 0.0 <= labels.unit_interval("key", text) < 1.0


class TestAudited:
    def test_a_rate_of_1_audits_everything(self) -> None:
        assert all(labels.audited("key", "m:a", str(n), 1.0) for n in range(100))

    def test_a_rate_of_0_audits_nothing(self) -> None:
        assert not any(labels.audited("key", "m:a", str(n), 0.0) for n in range(100))

    def test_a_request_in_a_small_sample_is_in_every_larger_one(self) -> None:
        small = {n for n in range(1000) if labels.audited("key", "m:a", str(n), 0.1)}
        large = {n for n in range(1000) if labels.audited("key", "m:a", str(n), 0.3)}

        assert small < large

    def test_each_candidate_has_a_sample_of_its_own(self) -> None:
        first = [labels.audited("key", "m:a", str(n), 0.5) for n in range(100)]
        second = [labels.audited("key", "m:b", str(n), 0.5) for n in range(100)]

        assert first != second


class TestToTargets:
    @pytest.mark.parametrize(
        ("value", "target"),
        [(0, 0.0), (2, 2.0), (1.0, 1.0), ("dog", 0.0), ("cat", 1.0), (True, 1.0)],
    )
    def test_classes_go_by_index_or_name(self, value: records.Label, target: float) -> None:
        assert labels.to_targets([value], "multiclass", CLASSES).tolist() == [target]

    def test_a_name_that_looks_like_a_number_is_a_name(self) -> None:
        assert labels.to_targets(["7"], "multiclass", CLASSES).tolist() == [2.0]

    @pytest.mark.parametrize(
        "value",
        [3, -1, 0.5, "bird", "", "0", float("nan"), float("inf"), 10**400, -(10**400), "x" * 9999],
    )
    def test_what_is_no_class_is_refused_with_the_known_ones(self, value: records.Label) -> None:
        with pytest.raises(
            errors.RequestError, match=r"index below 3 or one of \['dog'"
        ) as refusal:
            labels.to_targets([0, value], "multiclass", CLASSES)
        assert len(str(refusal.value)) < 300

    @pytest.mark.parametrize("value", [0, -2.5, 1e300, 10**300])
    def test_a_regression_takes_any_finite_number(self, value: records.Label) -> None:
        assert labels.to_targets([value], "regression", ()).tolist() == [float(value)]

    @pytest.mark.parametrize("value", ["1", float("nan"), float("inf"), -float("inf"), 10**400])
    def test_a_regression_refuses_the_rest(self, value: records.Label) -> None:
        with pytest.raises(errors.RequestError, match="not a finite number"):
            labels.to_targets([value], "regression", ())

    def test_no_labels_give_no_targets(self) -> None:
        assert labels.to_targets([], "binary", CLASSES).shape == (0,)


class TestScores:
    def test_the_first_of_equal_probabilities_wins(self) -> None:
        tie = np.array([[0.5, 0.5]])

        assert labels.scores(tie, np.array([0.0]), task="binary").tolist() == [1.0]
        assert labels.scores(tie, np.array([1.0]), task="binary").tolist() == [0.0]

    def test_a_regression_error_beyond_the_scale_counts_as_wholly_wrong(self) -> None:
        answers = np.array([0.0, 1.0, 2.0, 4.0, -9.0])

        # 1 - |error| / 4, and at least 0: errors 0, 1, 2, 4, 9 from the target 0.
        assert labels.scores(answers, np.zeros(5), task="regression", scale=4.0).tolist() == [
            1.0,
            0.75,
            0.5,
            0.0,
            0.0,
        ]

    def test_scores_are_float64_whatever_the_answers_are(self) -> None:
        answers = np.array([[0.1, 0.9]], dtype=np.float32)

        assert labels.scores(answers, np.array([1.0]), task="binary").dtype == np.float64


class TestDivergence:
    @hypothesis.given(probabilities(4, 3), probabilities(4, 3), strategies.integers(0, 2))
    def test_it_bounds_the_difference_of_scores_whatever_the_class(
        self, first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], truth: int
    ) -> None:
        targets = np.full(4, float(truth))
        outcome = labels.scores(first, targets, task="multiclass") - labels.scores(
            second, targets, task="multiclass"
        )

        assert (np.abs(outcome) <= labels.divergence(first, second, task="multiclass")).all()

    @hypothesis.given(*(strategies.floats(-10, 10) for _ in range(3)), strategies.floats(0.125, 20))
    def test_it_bounds_the_difference_of_scores_whatever_the_value(
        self, first: float, second: float, truth: float, scale: float
    ) -> None:
        one, other, target = (np.array([value]) for value in (first, second, truth))
        outcome = labels.scores(one, target, task="regression", scale=scale) - labels.scores(
            other, target, task="regression", scale=scale
        )
        bound = labels.divergence(one, other, task="regression", scale=scale)

        # Rounding of three divisions and subtractions of numbers near 1.
        assert abs(outcome[0]) <= bound[0] + 1e-12

    def test_equal_answers_are_a_tie(self) -> None:
        answers = np.array([[0.2, 0.8], [0.9, 0.1]])

        assert labels.divergence(answers, answers, task="binary").tolist() == [0.0, 0.0]

    def test_other_probabilities_of_the_same_class_are_a_tie(self) -> None:
        first, second = np.array([[0.2, 0.8]]), np.array([[0.4, 0.6]])

        assert labels.divergence(first, second, task="binary").tolist() == [0.0]

    def test_another_class_is_wholly_different(self) -> None:
        first, second = np.array([[0.2, 0.8]]), np.array([[0.6, 0.4]])

        assert labels.divergence(first, second, task="binary").tolist() == [1.0]


class TestDiffer:
    def test_classes_differ_where_another_one_is_named(self) -> None:
        first, second = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.6, 0.4], [0.4, 0.6]])

        assert labels.differ(first, second, task="binary").tolist() == [False, True]

    def test_values_differ_beyond_a_tenth_of_the_scale(self) -> None:
        # A tenth of 10 is 1: a distance of 1 still agrees, 1.5 does not.
        first, second = np.array([5.0, 5.0, 5.0]), np.array([6.0, 6.5, 3.5])

        differs = labels.differ(first, second, task="regression", scale=10.0)

        assert differs.tolist() == [False, True, True]

    def test_the_same_distance_agrees_on_a_wider_scale(self) -> None:
        first, second = np.array([5.0]), np.array([6.5])

        assert not labels.differ(first, second, task="regression", scale=100.0).any()
