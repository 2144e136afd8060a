from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coppice import errors, settings
from tests.support import command_line, pages
from tests.support.command_line import Call

WANTED = {
    "model": "tiny",
    "wanted": [
        {
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "reason": "disagreement",
            "version": "tiny:b",
            "rows": [0, 2],
            "divergence": 1.0,
            "inclusion_probability": 1.0,
            "age_seconds": 95.0,
        },
        {
            "request_id": "[second]",
            "reason": "live-accuracy",
            "version": "tiny:a",
            "rows": None,
            "divergence": 0.0,
            "inclusion_probability": 0.1,
            "age_seconds": 1.0,
        },
    ],
}

At = Callable[..., settings.Settings]


@pytest.fixture
def at(tmp_path: Path) -> At:
    """Return a function that writes a project whose server and monitor have one port."""

    def write(port: int, *lines: str) -> settings.Settings:
        doors = ["[serve]", f"port = {port}", "[monitor]", f"port = {port}"]
        return command_line.project(tmp_path, *lines, *doors)

    return write


def test_wanted_labels_are_listed_most_decisive_first(call: Call, at: At) -> None:
    with pages.serving({"/v1/labels/wanted": (200, WANTED)}) as server:
        result = call("labels", "wanted", "-C", at(server.port).root, "-n", "7")
    assert server.asked[0].query == {"model": ["tiny"], "limit": ["7"]}
    first, second = [row for row in result.out.splitlines() if "a" in row and "request" not in row]
    assert "01890a5d-ac96-774b-bcce-b302099a8057" in first
    assert "0, 2" in first
    assert "1 min 35 s" in first
    assert "[second]" in second
    assert "all" in second


def test_wanted_labels_are_json_on_demand(call: Call, at: At) -> None:
    with pages.serving({"/v1/labels/wanted": (200, WANTED)}) as server:
        result = call("labels", "wanted", "-C", at(server.port).root, "--json")
    assert json.loads(result.out) == WANTED


def test_where_no_label_is_wanted_that_is_said(call: Call, at: At) -> None:
    with pages.serving({"/v1/labels/wanted": (200, {"wanted": []})}) as server:
        result = call("labels", "wanted", "-C", at(server.port).root)
    assert result.out == "No label is wanted now.\n"


def test_without_a_monitor_one_is_told_how_to_start_it(call: Call, at: At) -> None:
    result = call("labels", "wanted", "-C", at(pages.free_port()).root)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "coppice monitor" in result.err


@pytest.mark.parametrize(
    ("words", "lines", "sent"),
    [
        (["cat"], [], ["cat"]),
        (["cat", "dog"], [], ["cat", "dog"]),
        (["7"], [], ["7"]),
        (["7", "--index"], [], [7]),
        (["1.5"], ['task = "regression"'], [1.5]),
    ],
)
def test_labels_are_sent_as_the_task_needs_them(
    call: Call, at: At, words: list[str], lines: list[str], sent: list[object]
) -> None:
    with pages.serving({"/feedback": (200, {"accepted": True})}) as server:
        tree = at(server.port, *lines)
        result = call("labels", "give", "-C", tree.root, "request-1", *words, "--annotator", "ada")
    assert result.code == 0
    assert server.asked[0].body == {
        "request_id": "request-1",
        "labels": sent,
        "source": "human",
        "annotator": "ada",
        "saw_prediction": False,
    }


@pytest.mark.parametrize(
    ("words", "lines"), [(["cat", "--index"], []), (["cat"], ['task = "regression"'])]
)
def test_a_label_that_is_no_number_where_one_is_needed_is_wrong_usage(
    call: Call, at: At, words: list[str], lines: list[str]
) -> None:
    tree = at(pages.free_port(), *lines)
    result = call("labels", "give", "-C", tree.root, "request-1", *words)
    assert result.code == 2
    assert "'cat' is not" in " ".join(result.err.split())


def test_a_refusal_of_the_server_is_passed_on(call: Call, at: At) -> None:
    answer = {"error": "That request has feedback already. The first label stands."}
    with pages.serving({"/feedback": (409, answer)}) as server:
        result = call("labels", "give", "-C", at(server.port).root, "request-1", "cat")
    assert result.code == errors.RequestError.exit_code
    assert "The first label stands" in result.err
