"""A new leader waits for the log of the old one, and not for ever."""

from __future__ import annotations

from deploy.succession import Lead, lead


def test_where_nothing_is_missing_a_leader_acts_at_once() -> None:
    assert lead(None, behind=False, patience=60.0, now=5.0) == Lead(5.0, acts=True)


def test_a_log_that_lags_is_waited_for() -> None:
    first = lead(None, behind=True, patience=60.0, now=5.0)
    assert first == Lead(5.0, acts=False)
    assert lead(first, behind=True, patience=60.0, now=64.9) == Lead(5.0, acts=False)


def test_a_leader_acts_as_soon_as_its_log_has_caught_up() -> None:
    first = lead(None, behind=True, patience=60.0, now=5.0)
    assert lead(first, behind=False, patience=60.0, now=6.0).acts


def test_nobody_is_waited_for_for_ever() -> None:
    # 5 s at the start, and 60 s of patience.
    first = lead(None, behind=True, patience=60.0, now=5.0)
    assert lead(first, behind=True, patience=60.0, now=65.0).acts


def test_who_acts_goes_on_whatever_others_write() -> None:
    acting = Lead(5.0, acts=True)
    assert lead(acting, behind=True, patience=60.0, now=6.0) == acting


def test_without_patience_nobody_waits() -> None:
    assert lead(None, behind=True, patience=0.0, now=5.0).acts
