from __future__ import annotations

import json
from pathlib import Path

import pytest

from coppice import errors, records, settings
from coppice_cli import compose
from tests.support import command_line, pages
from tests.support.command_line import Call

IDLE = records.Rollout(
    model="tiny", stage="idle", champion="tiny:a", outcome="promoted", reason="the first version"
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    ports = ["[serve]", f"port = {pages.free_port()}", "[monitor]", f"port = {pages.free_port()}"]
    return command_line.project(tmp_path, *ports)


def test_the_glance_works_when_nothing_runs(call: Call, tree: settings.Settings) -> None:
    result = call("status", "-C", tree.root)
    assert (result.code, result.err) == (0, "")
    assert "no champion yet" in result.out
    assert "serve does not answer, monitor does not answer" in result.out


def test_the_newest_state_is_shown(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, IDLE)
    assert "tiny:a is champion; no rollout is running" in call("status", "-C", tree.root).out


def test_the_glance_is_json_on_demand(call: Call, tree: settings.Settings) -> None:
    command_line.keep(tree, IDLE)
    seen = json.loads(call("status", "-C", tree.root, "--json").out)
    assert (seen["model"], seen["rollout"]["champion"]) == ("tiny", "tiny:a")


def test_a_broken_routing_table_is_an_error_that_names_the_file(
    call: Call, tree: settings.Settings
) -> None:
    tree.home.mkdir()
    tree.routing_path.write_text("{")
    result = call("status", "-C", tree.root)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert str(tree.routing_path) in result.err


def test_watching_looks_again_until_interrupted(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    class Impatient:
        def now(self) -> float:
            return 1_700_000_000.0

        def monotonic(self) -> float:
            return 0.0

        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(compose, "clock", Impatient)
    result = call("status", "-C", tree.root, "--watch", "--every", "0.5")
    assert result.code == 130
    assert pauses == [0.5, 0.5]
    assert "no champion yet" in result.out
