from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from coppice_cli import doors
from tests.support import pages


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_says_why(taken: int) -> None:
    assert doors.refusal("127.0.0.1", taken) == "Address already in use"


def test_a_free_port_is_free() -> None:
    assert doors.refusal("127.0.0.1", pages.free_port()) is None


def test_trying_a_port_does_not_keep_it() -> None:
    port = pages.free_port()
    assert [doors.refusal("127.0.0.1", port) for _ in range(2)] == [None, None]


def test_an_address_of_another_machine_is_refused() -> None:
    # 192.0.2.0/24 is kept for documentation: RFC 5737.
    assert doors.refusal("192.0.2.1", 3000) is not None


def test_a_name_that_no_resolver_knows_is_refused() -> None:
    assert doors.refusal("no-such-host.invalid", 3000) is not None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::", "http://[::1]:3000"),
        ("example.org", "http://example.org:3000"),
    ],
)
def test_a_wildcard_is_reached_by_loopback(host: str, url: str) -> None:
    assert doors.url(host, 3000) == url
