from __future__ import annotations

import pytest

from coppice.testing import ManualClock
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


class SteadyModel:
    """A graph that takes the same time for every batch, on a clock that only it moves."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.runs = 0

    def run(self, inputs: object) -> None:
        del inputs
        self.runs += 1
        self.clock.advance(self.seconds)


def test_a_race_times_each_model_by_itself_and_long_enough() -> None:
    clock = ManualClock()
    slow, fast = SteadyModel(clock, 0.02), SteadyModel(clock, 0.005)
    found = latency.race(slow, fast, {}, timer=clock)
    assert (found.parent_seconds, found.candidate_seconds) == pytest.approx((0.02, 0.005))
    assert (found.low, found.gain, found.high) == pytest.approx((4.0, 4.0, 4.0))
    # One run to warm up and 3 to gauge, then 9 rounds of 0.05 seconds: 3 runs or 10.
    assert slow.runs == 4 + 9 * 3
    assert 4 + 9 * 10 <= fast.runs <= 4 + 9 * 11


def test_a_clock_that_stands_still_finds_both_equally_fast() -> None:
    clock = ManualClock()
    found = latency.race(SteadyModel(clock, 0.0), SteadyModel(clock, 0.0), {}, timer=clock)
    assert found.gain == 1.0


class Crowded(ManualClock):
    """The clock of a busy machine: between two looks at the wall, others had the core for 1 s."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic() + self.looks


def test_waiting_for_a_core_is_not_held_against_a_model() -> None:
    clock = Crowded()
    found = latency.race(SteadyModel(clock, 0.02), SteadyModel(clock, 0.01), {}, timer=clock)
    assert (found.parent_seconds, found.candidate_seconds) == pytest.approx((0.02, 0.01))
    assert found.gain == pytest.approx(2.0)


def test_each_model_is_first_as_often_as_second() -> None:
    order: list[str] = []

    class Named(SteadyModel):
        def __init__(self, clock: ManualClock, name: str) -> None:
            # So slow that each turn is a single run.
            super().__init__(clock, 1.0)
            self.name = name

        def run(self, inputs: object) -> None:
            super().run(inputs)
            order.append(self.name)

    clock = ManualClock()
    latency.race(Named(clock, "parent"), Named(clock, "candidate"), {}, timer=clock)
    # One run to warm up and 3 to gauge each; after them come the rounds.
    assert order[8:14] == ["parent", "candidate", "candidate", "parent", "parent", "candidate"]
