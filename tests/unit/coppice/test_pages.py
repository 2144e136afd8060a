"""Pages that a background process serves from a thread."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from starlette import applications, requests, responses, routing

from coppice import errors, pages


class Said(msgspec.Struct):
    """What the page of these tests answers."""

    alive: bool = True


async def _alive(_: requests.Request) -> responses.Response:
    return pages.as_json(Said(), 202)


APP = applications.Starlette(routes=[routing.Route("/health", _alive)])


def test_pages_are_served_while_the_block_runs() -> None:
    with pages.served(APP, "127.0.0.1", 0, table="monitor") as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        assert (answer.status_code, answer.json()) == (202, {"alive": True})
        assert answer.headers["content-type"] == "application/json"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)


def test_a_port_that_is_taken_is_reported_with_the_setting_to_change() -> None:
    with (
        pages.served(APP, "127.0.0.1", 0, table="monitor") as port,
        pytest.raises(errors.EnvironmentProblem, match=r"rollout\.port"),
        pages.served(APP, "127.0.0.1", port, table="rollout"),
    ):
        pass


def test_an_address_of_another_machine_is_reported() -> None:
    with (
        pytest.raises(errors.EnvironmentProblem, match=r"203\.0\.113\.1"),
        pages.served(APP, "203.0.113.1", 0, table="monitor"),
    ):
        pass


def test_an_address_of_the_newer_protocol_is_taken() -> None:
    with pages.served(APP, "::1", 0, table="monitor") as port:
        assert httpx.get(f"http://[::1]:{port}/health", trust_env=False).is_success
