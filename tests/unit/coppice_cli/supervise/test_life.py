from __future__ import annotations

import pytest

from coppice_cli.supervise.life import ABSENT, Life, Look, Patience, next_move

PATIENCE = Patience(first_seconds=1.0, factor=2.0, cap_seconds=5.0, stable_seconds=60.0, limit=4)
NOW = 100.0
DEAD, KILLED, HOPELESS, STUCK = Look(1), Look(-9), Look(2), Look(9)
READY = Look(None, ready=True)


def move(life: Life, look: Look = ABSENT, now: float = NOW) -> tuple[Life, str]:
    return next_move(life, look, PATIENCE, 30.0, now)


def test_pauses_double_up_to_the_cap() -> None:
    # 1, 2, 4, then 8 is capped at 5.
    assert [PATIENCE.pause(crashes) for crashes in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_process_that_is_down_is_started() -> None:
    assert move(Life()) == (Life("starting", NOW), "start")


def test_a_starting_process_becomes_ready() -> None:
    life, what = move(Life("starting", 90.0), READY)
    assert (life.phase, life.since, life.reached, what) == ("running", NOW, True, "nothing")


def test_a_starting_process_is_given_its_time() -> None:
    life = Life("starting", NOW - 29.0)
    assert move(life) == (life, "nothing")


def test_a_process_that_is_not_ready_in_time_counts_as_crashed() -> None:
    life, what = move(Life("starting", NOW - 30.0))
    assert (life.phase, life.crashes, what) == ("waiting", 1, "clear away")
    assert life.reason == "was not ready after 30 s"


def test_a_running_process_is_left_alone() -> None:
    life = Life("running", 0.0, reached=True)
    assert move(life) == (life, "nothing")


@pytest.mark.parametrize("phase", ["starting", "running"])
def test_a_crash_is_followed_by_a_pause(phase: str) -> None:
    life, what = move(Life(phase, NOW - 1.0), DEAD)  # type: ignore[arg-type]
    assert (life.phase, life.since, life.crashes) == ("waiting", NOW + 1.0, 1)
    assert (life.reason, what) == ("exited with 1", "clear away")


def test_an_end_without_an_error_counts_as_a_crash_too() -> None:
    assert move(Life("running", NOW - 1.0), Look(0))[0].phase == "waiting"


def test_the_signal_is_named() -> None:
    assert move(Life("running", NOW - 1.0), KILLED)[0].reason == "was ended by signal 9"


def test_a_second_crash_waits_longer() -> None:
    life, _ = move(Life("running", NOW - 1.0, crashes=1), DEAD)
    assert (life.crashes, life.since) == (2, NOW + 2.0)


def test_a_stable_run_makes_up_for_earlier_crashes() -> None:
    life, _ = move(Life("running", NOW - 60.0, crashes=3), DEAD)
    assert (life.phase, life.crashes, life.since) == ("waiting", 1, NOW + 1.0)


def test_a_slow_start_is_not_a_stable_run() -> None:
    life, _ = move(Life("starting", NOW - 60.0, crashes=2), DEAD)
    assert life.crashes == 3


def test_a_waiting_process_waits() -> None:
    life = Life("waiting", NOW + 0.1)
    assert move(life) == (life, "nothing")


def test_a_waiting_process_is_started_again_at_its_time() -> None:
    life, what = move(Life("waiting", NOW, crashes=1, reached=True))
    assert (life.phase, life.since, life.restarts, what) == ("starting", NOW, 1, "start")
    assert (life.crashes, life.reached) == (1, True)


def test_too_many_crashes_in_a_row_are_given_up() -> None:
    life, what = move(Life("running", NOW - 1.0, crashes=3), DEAD)
    assert (life.phase, life.crashes, what) == ("given up", 4, "clear away")


def test_a_process_that_is_never_ready_is_given_up() -> None:
    assert move(Life("starting", 0.0, crashes=3))[0].phase == "given up"


def test_wrong_settings_are_given_up_at_once() -> None:
    life, what = move(Life("starting", NOW - 1.0), HOPELESS)
    assert (life.phase, what) == ("given up", "clear away")


def test_trouble_outside_this_machine_is_never_given_up() -> None:
    # At most 4 crashes are borne; here the count stays at 3, whose pause is 1, 2, 4 seconds.
    life, what = move(Life("running", NOW - 1.0, crashes=3), STUCK)
    assert (life.phase, life.crashes, life.since) == ("waiting", 3, NOW + 4.0)
    assert (life.reason, what) == ("exited with 9", "clear away")


def test_trouble_outside_this_machine_is_met_with_growing_pauses() -> None:
    life, _ = move(Life("running", NOW - 1.0, crashes=1), STUCK)
    assert (life.crashes, life.since) == (2, NOW + 2.0)


def test_what_was_given_up_stays_so() -> None:
    life = Life("given up", 0.0)
    assert move(life, now=1e9) == (life, "nothing")
