from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors
from coppice_cli import client
from tests.support import command_line, pages


def test_an_answer_is_json() -> None:
    with pages.serving({"/page": (200, {"fine": True})}) as server:
        url = f"http://127.0.0.1:{server.port}/page"
        assert client.get(url, {"limit": 3}, whose="monitor") == {"fine": True}
    assert server.asked == [pages.Asked("GET", "/page", {"limit": ["3"]}, None)]


def test_a_body_is_sent_as_json() -> None:
    with pages.serving({"/feedback": (200, {})}) as server:
        client.post(f"http://127.0.0.1:{server.port}/feedback", {"label": 1}, whose="serve")
    assert server.asked == [pages.Asked("POST", "/feedback", {}, {"label": 1})]


def test_where_nobody_answers_the_command_that_helps_is_named() -> None:
    url = f"http://127.0.0.1:{pages.free_port()}/page"
    with pytest.raises(errors.EnvironmentProblem, match="start it with `coppice monitor`"):
        client.get(url, {}, whose="monitor")


def test_the_text_of_an_error_is_passed_on() -> None:
    with pages.serving({"/page": (409, {"error": "that request has feedback already"})}) as server:
        url = f"http://127.0.0.1:{server.port}/page"
        with pytest.raises(errors.RequestError, match="answered 409: that request has feedback"):
            client.get(url, {}, whose="serve")


def test_an_error_that_is_no_json_is_passed_on_too() -> None:
    with pages.serving({"/page": (500, b"<html>broken</html>")}) as server:
        url = f"http://127.0.0.1:{server.port}/page"
        with pytest.raises(errors.RequestError, match="<html>broken</html>"):
            client.get(url, {}, whose="serve")


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{pages.free_port()}")
    with pages.serving({"/page": (200, {})}) as server:
        assert client.get(f"http://127.0.0.1:{server.port}/page", {}, whose="serve") == {}


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (503, False)])
def test_only_a_success_counts_as_an_answer(status: int, *, there: bool) -> None:
    with pages.serving({"/page": (status, {})}) as server:
        assert client.answers(f"http://127.0.0.1:{server.port}/page") is there


def test_silence_is_no_answer() -> None:
    assert not client.answers(f"http://127.0.0.1:{pages.free_port()}/")


def test_addresses_come_from_the_settings(tmp_path: Path) -> None:
    tree = command_line.project(
        tmp_path, "[serve]", 'host = "0.0.0.0"', "port = 4000", "[monitor]", "port = 4001"
    )
    assert client.server_url(tree) == "http://127.0.0.1:4000"
    assert client.monitor_url(tree) == "http://127.0.0.1:4001"


def test_an_answer_that_is_an_error_says_what_is_wrong() -> None:
    with pages.serving({"/ready": (503, {"error": "no champion"}), "/page": (200, {})}) as server:
        door = f"http://127.0.0.1:{server.port}"
        assert client.complaint(f"{door}/ready") == "no champion"
        assert client.complaint(f"{door}/page") == ""


def test_where_nobody_answers_nobody_complains() -> None:
    assert client.complaint(f"http://127.0.0.1:{pages.free_port()}/ready") == ""
