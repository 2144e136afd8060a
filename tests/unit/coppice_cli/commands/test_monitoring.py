from __future__ import annotations

from pathlib import Path

from tests.support import command_line
from tests.support.command_line import Call


def test_everything_is_written_and_the_next_commands_are_told(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path / "project")
    out = tmp_path / "out"
    done = call("monitoring", "export", out, "-C", tmp_path / "project")
    assert done.code == 0
    assert {path.name for path in out.iterdir()} == {
        "prometheus.yml",
        "alertmanager.yml",
        "rules",
        "dashboards",
    }
    assert f"prometheus --config.file={out}/prometheus.yml" in done.out
    assert f"prometheus-alertmanager --config.file={out}/alertmanager.yml" in done.out


def test_what_cannot_be_scraped_is_said(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path / "project", "[retrain]", "metrics_port = 3002")
    done = call("monitoring", "export", tmp_path / "out", "-C", tmp_path / "project")
    assert "not scraped: rollout.metrics_port is 0" in done.out
    assert "retrain.metrics_port" not in done.out


def test_a_second_export_asks_to_be_forced(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path / "project")
    words = ("monitoring", "export", tmp_path / "out", "-C", tmp_path / "project")
    call(*words)
    refused = call(*words)
    assert refused.code == 2
    assert "--force" in refused.err
    assert call(*words, "--force").code == 0


def test_webhook_and_runbooks_come_into_the_files(call: Call, tmp_path: Path) -> None:
    command_line.project(tmp_path / "project")
    hook, pages = "http://127.0.0.1:9/hook", "https://pages.example/runbooks"
    place = ("-C", tmp_path / "project", "--webhook", hook, "--runbooks", pages)
    call("monitoring", "export", tmp_path / "out", *place)
    assert hook in (tmp_path / "out" / "alertmanager.yml").read_text()
    assert pages in (tmp_path / "out" / "rules" / "serving.yaml").read_text()
