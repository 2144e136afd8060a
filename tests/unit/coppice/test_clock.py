from __future__ import annotations

import pytest

from coppice import clock, testing


def test_the_systems_monotonic_clock_does_not_go_back() -> None:
    system = clock.SystemClock()

    first = system.monotonic()
    system.sleep(0.0)

    assert system.monotonic() >= first


def test_waiting_takes_none_of_the_processors_time() -> None:
    system = clock.SystemClock()

    first, start = system.processor(), system.monotonic()
    system.sleep(0.1)

    assert system.processor() - first < system.monotonic() - start


def test_work_takes_the_processors_time() -> None:
    system = clock.SystemClock()

    first = system.processor()
    sum(range(1_000_000))

    assert system.processor() > first


def test_the_systems_clock_counts_from_1970() -> None:
    # 1 January 2024 UTC; the code is younger.
    assert clock.SystemClock().now() > 1_704_067_200.0


def test_both_clocks_are_clocks() -> None:
    clocks: list[clock.Clock] = [clock.SystemClock(), testing.ManualClock()]

    assert all(isinstance(one.now(), float) for one in clocks)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        # `date -u -d @1700000000` gives 2023-11-14 22:13:20.
        (1_700_000_000.25, "2023-11-14T22:13:20.250Z"),
        # Milliseconds are cut, not rounded: a time is never written as later than it was.
        (0.9999, "1970-01-01T00:00:00.999Z"),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(seconds: float, text: str) -> None:
    assert clock.rfc3339(seconds) == text
