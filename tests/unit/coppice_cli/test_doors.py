from __future__ import annotations

import socket

import pytest

from coppice import errors
from coppice_cli import doors


@pytest.fixture
def taken() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_refused_with_the_setting_to_change(taken: int) -> None:
    with pytest.raises(errors.EnvironmentProblem) as caught:
        doors.check_free("serve", "127.0.0.1", taken)
    assert f"127.0.0.1:{taken}" in str(caught.value)
    assert "COPPICE_SERVE__PORT" in str(caught.value)


def test_a_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    doors.check_free("serve", "127.0.0.1", port)
    assert doors.refusal("127.0.0.1", port) is None


def test_trying_a_port_does_not_keep_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
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
