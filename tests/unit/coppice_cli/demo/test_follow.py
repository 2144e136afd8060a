from __future__ import annotations

import pytest

from coppice import errors, records, testing
from coppice.eventlog import memory
from coppice_cli.demo import follow


def event(record: records.Record) -> records.Event:
    return records.seal(record, source="test", now=1.0)


def rollout(champion: str) -> records.Rollout:
    return records.Rollout(
        model="digits", stage="idle", champion=champion, outcome="promoted", reason="first"
    )


@pytest.fixture
def log() -> memory.MemoryLog:
    return memory.MemoryLog()


@pytest.fixture
def shown() -> list[follow.Fact]:
    return []


@pytest.fixture
def follower(log: memory.MemoryLog, shown: list[follow.Fact]) -> follow.Follower:
    return follow.Follower(log, testing.ManualClock(), shown.append)


def test_a_decision_is_kept_and_shown_once(
    log: memory.MemoryLog, follower: follow.Follower, shown: list[follow.Fact]
) -> None:
    log.append([event(rollout("digits:a"))])
    follower.catch_up()
    follower.catch_up()
    assert [fact.record for fact in shown] == [rollout("digits:a")]
    assert follower.facts == shown


def test_traffic_is_read_over_in_silence(
    log: memory.MemoryLog, follower: follow.Follower, shown: list[follow.Fact]
) -> None:
    log.append(
        [event(records.Feedback(request_id="r", model="digits", labels=(1,), labelled_at=1.0))]
    )
    follower.catch_up()
    assert shown == []


def test_waiting_returns_the_first_decision_that_meets_the_condition(
    log: memory.MemoryLog, follower: follow.Follower
) -> None:
    log.append([event(rollout("digits:a")), event(rollout("digits:b"))])
    found = follower.wait(
        records.Rollout, lambda step: step.champion == "digits:b", since=0, seconds=1.0
    )
    assert found.champion == "digits:b"


def test_decisions_before_the_start_of_the_wait_do_not_count(
    log: memory.MemoryLog, follower: follow.Follower
) -> None:
    log.append([event(rollout("digits:a"))])
    follower.catch_up()
    with pytest.raises(errors.CoppiceError, match="no such Rollout within 2 s"):
        follower.wait(records.Rollout, lambda _: True, since=1, seconds=2.0)


def test_a_wait_in_vain_says_what_came_instead(
    log: memory.MemoryLog, follower: follow.Follower
) -> None:
    log.append([event(rollout("digits:a"))])
    with pytest.raises(errors.CoppiceError, match="Rollout"):
        follower.wait(records.Verdict, lambda _: True, since=0, seconds=2.0)
