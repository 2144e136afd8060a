"""What a request says about itself, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from coppice import errors
from service import admission

NOTHING = admission.Claims()


def admit(
    headers: dict[bytes, bytes] | None = None, claims: admission.Claims = NOTHING
) -> admission.Query:
    return admission.admit(headers or {}, claims, {})


def test_a_request_that_says_nothing_gets_an_id_that_is_its_key() -> None:
    query = admit()
    # The version stands at the 15th character of a UUID.
    assert query.request_id[14] == "7"
    assert query.key == query.request_id
    assert query.slices == {}
    assert query.lane is None


def test_no_two_requests_get_the_same_id() -> None:
    assert admit().request_id != admit().request_id


def test_headers_win_over_the_body() -> None:
    headers = {
        b"x-request-id": b"from-header",
        b"x-coppice-key": b"ann",
        b"x-coppice-slices": b"pen=ink",
    }
    query = admit(headers, admission.Claims("from-body", "bob", {"pen": "lead"}))
    assert (query.request_id, query.key, query.slices) == ("from-header", "ann", {"pen": "ink"})


def test_the_body_speaks_where_the_headers_are_silent() -> None:
    query = admit(claims=admission.Claims("r1", "bob", "site=a"))
    assert (query.request_id, query.key, query.slices) == ("r1", "bob", {"site": "a"})


def test_the_lane_asked_for_is_passed_on() -> None:
    assert admit({b"x-coppice-lane": b"canary"}).lane == "canary"


@pytest.mark.parametrize("bad", ["has space", "ünicode", "x" * 129, "new\nline", "tab\t"])
def test_an_id_that_is_no_plain_word_is_refused(bad: str) -> None:
    with pytest.raises(errors.RequestError, match="1 to 128 printable"):
        admit(claims=admission.Claims(bad))


@pytest.mark.parametrize("bad", ["", "x" * 257, 7, ["ann"], {"a": 1}, True])
def test_a_routing_key_that_is_no_short_text_is_refused(bad: Any) -> None:
    with pytest.raises(errors.RequestError, match="routing key"):
        admit(claims=admission.Claims(key=bad))


def test_slices_are_read_from_a_header_with_blanks() -> None:
    assert admission.read_slices(" pen = ink , site=a b") == {"pen": "ink", "site": "a b"}


@pytest.mark.parametrize("empty", [None, "", {}])
def test_no_slices_are_no_slices(empty: Any) -> None:
    assert admission.read_slices(empty) == {}


@pytest.mark.parametrize(
    "bad",
    [
        "pen",
        "pen=",
        "=ink",
        "pen=in;k",
        "p n=ink",
        f"{'p' * 65}=ink",
        f"pen={'i' * 65}",
        "pen=ink,",
        {"pen": 1},
        {"pen": {"a": "b"}},
        {"": "ink"},
        7,
        ["pen"],
        "pen=ï",
    ],
)
def test_slices_that_are_not_name_and_value_are_refused(bad: Any) -> None:
    with pytest.raises(errors.RequestError, match="slice"):
        admission.read_slices(bad)


def test_more_than_eight_slices_are_refused() -> None:
    eight = ",".join(f"s{number}=a" for number in range(8))
    assert len(admission.read_slices(eight)) == 8
    with pytest.raises(errors.RequestError, match="at most 8 slices"):
        admission.read_slices(f"{eight},more=a")


@pytest.mark.parametrize(
    ("headers", "claimed", "seconds"),
    [
        ({}, None, None),
        ({b"x-coppice-timeout": b"0.25"}, None, 0.25),
        ({}, 250_000, 0.25),  # microseconds, as Triton's clients send them
        ({b"x-coppice-timeout": b"2"}, 250_000, 2.0),
    ],
)
def test_a_client_says_how_long_it_waits(
    headers: dict[bytes, bytes], claimed: Any, seconds: float | None
) -> None:
    assert admit(headers, admission.Claims(timeout=claimed)).timeout == seconds


@pytest.mark.parametrize("bad", [b"soon", b"", b"-1", b"0", b"nan", b"inf"])
def test_a_timeout_that_is_no_positive_number_is_refused(bad: bytes) -> None:
    with pytest.raises(errors.RequestError, match="takes seconds"):
        admit({b"x-coppice-timeout": bad})


@pytest.mark.parametrize("bad", ["soon", [], {}, -1])
def test_a_timeout_in_the_body_is_checked_too(bad: Any) -> None:
    with pytest.raises(errors.RequestError, match="microseconds"):
        admit(claims=admission.Claims(timeout=bad))
