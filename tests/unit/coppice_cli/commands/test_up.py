from __future__ import annotations

import threading
from pathlib import Path

import pytest

from coppice import errors, records, settings
from coppice_cli import narrator
from coppice_cli.commands import up
from coppice_cli.supervise import lock
from coppice_cli.supervise import up as supervised
from tests.support import command_line
from tests.support.command_line import Call

RETRAINING = records.Retraining(
    model="tiny", status="started", cause="world", reason="the world changed"
)


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path, "[serve]", "port = 4000", "[monitor]", "port = 4001")


def test_where_everything_is_is_told_before_it_starts(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[settings.Settings] = []
    monkeypatch.setattr(supervised, "main", ran.append)
    result = call("up", "-C", tree.root)
    assert (result.code, ran) == (0, [tree])
    assert result.err.splitlines() == [
        "answers  http://127.0.0.1:4000/v2/models/tiny/infer",
        "labels   http://127.0.0.1:4000/feedback",
        "metrics  http://127.0.0.1:4000/metrics and http://127.0.0.1:4001/metrics",
        "verdict  http://127.0.0.1:4001/v1/verdict",
        f"state    {tree.home}",
    ]


def test_what_the_loop_decides_is_told_while_it_runs(
    call: Call, tree: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    class Telling(narrator.Narrator):
        def news(self) -> list[str]:
            command_line.keep(tree, RETRAINING)
            told = super().news()
            looked.set()
            return told

    monkeypatch.setattr(up, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(narrator, "Narrator", Telling)
    monkeypatch.setattr(supervised, "main", lambda _: looked.wait(10.0))
    assert "retraining started: the world changed" in call("up", "-C", tree.root).err


def test_a_second_up_for_one_project_is_refused(call: Call, tree: settings.Settings) -> None:
    with lock.hold(tree.home):
        result = call("up", "-C", tree.root)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "runs already" in result.err
