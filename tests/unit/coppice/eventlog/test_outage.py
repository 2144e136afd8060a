from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog

from coppice import errors
from coppice.eventlog import outage

TRUST = outage.Trust("relay", errors.RelayStuck, spared=(errors.EventTooLarge,))


def seen(*found: bool) -> Callable[[], bool]:
    """Return what finds a broker, or none, look by look."""
    left = iter(found)
    return lambda: next(left)


class TestLookout:
    def test_it_says_whether_a_broker_is_there_now(self) -> None:
        lookout = outage.Lookout(seen(False, True, False))
        assert [lookout.look(), lookout.look(), lookout.look()] == [False, True, False]

    def test_it_looks_only_when_told_to(self) -> None:
        assert outage.Lookout(seen()).pause == 0.0

    def test_pauses_grow_while_nobody_is_there_and_begin_anew_after_that(self) -> None:
        lookout = outage.Lookout(seen(False, False, False, True, False))
        pauses = [(lookout.look(), lookout.pause) for _ in range(5)]
        assert pauses == [(False, 0.25), (False, 0.5), (False, 1.0), (True, 0.0), (False, 0.25)]

    def test_each_outage_is_logged_once(self) -> None:
        lookout = outage.Lookout(seen(False, False, True, True, False, False))
        with structlog.testing.capture_logs() as logged:
            found = [lookout.look() for _ in range(6)]
        assert found.count(False) == 4
        assert [line["event"] for line in logged] == ["no_broker", "no_broker"]


class TestTrust:
    def test_a_client_that_does_not_fail_is_kept(self) -> None:
        with TRUST.kept():
            answer = "here"
        assert answer == "here"

    def test_a_client_that_fails_ends_the_process_and_says_what_follows(self) -> None:
        cause = errors.EventLogError("no answer by the deadline")
        with pytest.raises(errors.RelayStuck) as caught, TRUST.kept():
            raise cause
        expected = (
            "no answer by the deadline; the relay ends, to be started again with a fresh client"
        )
        assert str(caught.value) == expected
        assert caught.value.__cause__ is cause

    def test_what_is_no_fault_of_the_client_passes(self) -> None:
        with pytest.raises(errors.EventTooLarge, match="2 MiB"), TRUST.kept():
            raise errors.EventTooLarge("2 MiB")

    def test_unless_it_is_spared_it_does_not(self) -> None:
        strict = outage.Trust("follower", errors.FollowerStuck)
        with pytest.raises(errors.FollowerStuck, match="2 MiB; the follower ends"), strict.kept():
            raise errors.EventTooLarge("2 MiB")

    def test_a_client_that_cannot_be_made_ends_the_process_where_it_raised_itself(self) -> None:
        problem = errors.EventLogError("no answer")
        problem.__cause__ = TimeoutError()
        with pytest.raises(errors.RelayStuck, match="no answer; the relay ends"), TRUST.made():
            raise problem

    def test_topics_that_will_not_do_are_no_fault_of_the_client(self) -> None:
        with pytest.raises(errors.EventLogError, match="lacks") as caught, TRUST.made():
            raise errors.EventLogError("lacks the topics a, b")
        assert not isinstance(caught.value, errors.RelayStuck)

    def test_faults_of_others_pass(self) -> None:
        with pytest.raises(errors.RegistryProblem, match="no room"), TRUST.kept():
            raise errors.RegistryProblem("no room")

    def test_a_reason_that_is_no_error_will_do(self) -> None:
        lost = TRUST.lost("nobody has answered for 60 s")
        assert type(lost) is errors.RelayStuck
        assert str(lost).startswith("nobody has answered for 60 s; the relay ends")
