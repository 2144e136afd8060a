from __future__ import annotations

import pytest

from retrain.evaluate import latency


def test_the_gain_is_the_median_of_the_rounds_ratios() -> None:
    # A slow moment doubles both times of the last round and leaves its ratio alone.
    found = latency.summarise([3.0, 3.0, 6.0], [1.5, 1.0, 3.0])
    assert found.gain == 2.0
    assert (found.parent_seconds, found.candidate_seconds) == (3.0, 1.5)


def test_nine_rounds_leave_out_one_extreme_on_each_side() -> None:
    # 2 P(Binomial(9, 1/2) < 1) = 0.0039 and < 2: 0.039; both below 0.05; < 3: 0.18 is above.
    candidate = [1.0 / ratio for ratio in (0.1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 9.0)]
    found = latency.summarise([1.0] * 9, candidate)
    assert (found.low, found.gain, found.high) == pytest.approx((1.1, 1.4, 1.7))


def test_few_rounds_give_their_whole_range() -> None:
    found = latency.summarise([1.0, 1.0, 1.0], [1.0, 0.5, 0.25])
    assert (found.low, found.high) == (1.0, 4.0)


def test_a_single_round_is_its_own_interval() -> None:
    found = latency.summarise([1.0], [0.5])
    assert (found.low, found.gain, found.high) == (2.0, 2.0, 2.0)


def test_rounds_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        latency.summarise([1.0, 2.0], [1.0])
