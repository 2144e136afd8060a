from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice import records
from service import relay_plan
from service.relay_plan import Sent
from tests.support import events

DEADLINE = 30.0
SUBJECTS = st.lists(st.sampled_from("abc"), max_size=20)


class TestWaves:
    def test_events_about_different_requests_go_together(self) -> None:
        batch = [events.feedback(name) for name in "abc"]

        assert relay_plan.waves(batch) == [batch]

    def test_a_second_event_of_a_kind_about_a_request_waits_for_the_first(self) -> None:
        first, second, third = (events.feedback("a") for _ in range(3))

        assert relay_plan.waves([first, second, third]) == [[first], [second], [third]]

    def test_kinds_and_models_are_told_apart(self) -> None:
        batch = [
            events.feedback("a"),
            events.prediction("a"),
            events.feedback("a", model="other"),
        ]

        assert relay_plan.waves(batch) == [batch]

    def test_of_nothing_there_is_no_wave(self) -> None:
        assert relay_plan.waves([]) == []

    @given(SUBJECTS)
    def test_nothing_is_left_out_or_sent_twice(self, subjects: list[str]) -> None:
        batch = [events.feedback(subject) for subject in subjects]

        sent = [event.id for event in itertools.chain(*relay_plan.waves(batch))]

        assert sorted(sent) == sorted(event.id for event in batch)

    @given(SUBJECTS)
    def test_each_wave_has_a_request_once_and_all_waves_keep_its_order(
        self, subjects: list[str]
    ) -> None:
        batch = [events.feedback(subject) for subject in subjects]
        parts = relay_plan.waves(batch)

        assert all(len({event.subject for event in part}) == len(part) for part in parts)
        assert _about("a", itertools.chain(*parts)) == _about("a", batch)


def _about(subject: str, found: itertools.chain[records.Event] | list[records.Event]) -> list[str]:
    return [event.id for event in found if event.subject == subject]


class TestNextSize:
    def test_it_doubles_while_the_cluster_is_quick(self) -> None:
        # 2.9 s is less than a tenth of 30 s.
        assert relay_plan.next_size(8, Sent(8, 800, 2.9), DEADLINE) == 16

    def test_it_stays_where_the_cluster_takes_its_time(self) -> None:
        # Between 3 s, a tenth, and 15 s, the half.
        assert relay_plan.next_size(8, Sent(8, 800, 3.1), DEADLINE) == 8
        assert relay_plan.next_size(8, Sent(8, 800, 14.9), DEADLINE) == 8

    def test_it_is_halved_before_the_deadline_is_missed(self) -> None:
        assert relay_plan.next_size(8, Sent(8, 800, 15.1), DEADLINE) == 4

    def test_it_never_is_less_than_one_event(self) -> None:
        assert relay_plan.next_size(1, Sent(1, 100, 29.0), DEADLINE) == 1
        # An event of 8 MiB is more than a batch may hold, but is sent all the same.
        assert relay_plan.next_size(1, Sent(1, 8 * 2**20, 0.1), DEADLINE) == 1

    def test_a_batch_that_was_not_full_says_nothing_about_a_larger_one(self) -> None:
        assert relay_plan.next_size(8, Sent(3, 300, 0.1), DEADLINE) == 8

    def test_it_has_an_upper_bound(self) -> None:
        most = relay_plan.MOST
        assert relay_plan.next_size(most, Sent(most, 100 * most, 0.1), DEADLINE) == most

    def test_large_events_come_in_small_batches(self) -> None:
        # 16 events of 1 MiB each; 4 MiB hold four of them.
        assert relay_plan.next_size(16, Sent(16, 16 * 2**20, 0.1), DEADLINE) == 4

    def test_events_without_payload_do_not_divide_by_nought(self) -> None:
        assert relay_plan.next_size(8, Sent(8, 0, 0.1), DEADLINE) == 16


class TestPauses:
    @pytest.mark.parametrize(
        ("seconds", "pause"),
        # Counting may take a hundredth of the time: 0.05 s allow it every 5 s, 1 s every 100 s.
        [(0.0, 5.0), (0.05, 5.0), (1.0, 100.0)],
    )
    def test_counting_a_long_backlog_stays_cheap(self, seconds: float, pause: float) -> None:
        assert relay_plan.look_pause(seconds) == pytest.approx(pause)
