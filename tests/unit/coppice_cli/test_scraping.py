from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from coppice import errors, settings
from coppice_cli import scraping
from tests.support import command_line, promtool

PORTS = ("[retrain]", "metrics_port = 3002", "[rollout]", "metrics_port = 3003")


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return command_line.project(tmp_path / "project", *PORTS)


def jobs(found: dict[str, str]) -> dict[str, dict[str, object]]:
    configs = yaml.safe_load(found["prometheus.yml"])["scrape_configs"]
    return {config["job_name"]: config["static_configs"][0] for config in configs}


def test_the_relay_is_scraped_where_there_is_one(tmp_path: Path) -> None:
    kafka = ("[events]", 'backend = "kafka"', "[kafka]", 'servers = "localhost:9092"')
    with_port = command_line.project(tmp_path / "a", *kafka, "relay_metrics_port = 3004")
    without = command_line.project(tmp_path / "b", *kafka)

    assert jobs(scraping.files(with_port))["coppice-relay"]["targets"] == ["127.0.0.1:3004"]
    assert "coppice-relay" not in jobs(scraping.files(without))
    assert "kafka.relay_metrics_port" in scraping.silent(without)


def test_the_follower_is_scraped_where_there_is_one(tmp_path: Path) -> None:
    kafka = ("[events]", 'backend = "kafka"', "[kafka]", 'servers = "localhost:9092"')
    with_port = command_line.project(tmp_path / "a", *kafka, "follow_metrics_port = 3005")
    without = command_line.project(tmp_path / "b", *kafka)

    assert jobs(scraping.files(with_port))["coppice-follow"]["targets"] == ["127.0.0.1:3005"]
    assert "kafka.follow_metrics_port" in scraping.silent(without)


def test_a_loop_is_scraped_at_the_address_where_it_answers(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, *PORTS, "[metrics]", 'host = "10.1.2.3"')
    found = jobs(scraping.files(tree))
    assert found["coppice-retrain"]["targets"] == ["10.1.2.3:3002"]
    assert found["coppice-rollout"]["targets"] == ["10.1.2.3:3003"]
    assert found["coppice-monitor"]["targets"] == ["127.0.0.1:3001"]


def test_every_process_is_scraped_and_gets_the_model_label(tree: settings.Settings) -> None:
    labels = {"model": "tiny"}
    assert jobs(scraping.files(tree)) == {
        "coppice-service": {"targets": ["127.0.0.1:3000"], "labels": labels},
        "coppice-monitor": {"targets": ["127.0.0.1:3001"], "labels": labels},
        "coppice-retrain": {"targets": ["127.0.0.1:3002"], "labels": labels},
        "coppice-rollout": {"targets": ["127.0.0.1:3003"], "labels": labels},
    }


def test_a_metric_keeps_a_model_label_of_its_own(tree: settings.Settings) -> None:
    configs = yaml.safe_load(scraping.files(tree)["prometheus.yml"])["scrape_configs"]
    assert all(config["honor_labels"] is True for config in configs)


def test_ports_that_are_off_are_not_scraped_but_named(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    assert list(jobs(scraping.files(tree))) == ["coppice-service", "coppice-monitor"]
    assert scraping.silent(tree) == ["retrain.metrics_port", "rollout.metrics_port"]


def test_no_port_is_silent_where_all_are_set(tree: settings.Settings) -> None:
    assert scraping.silent(tree) == []


def test_alerts_go_nowhere_unless_told(tree: settings.Settings) -> None:
    config = yaml.safe_load(scraping.files(tree)["alertmanager.yml"])
    assert config["route"]["receiver"] == "nowhere"
    assert config["receivers"] == [{"name": "nowhere"}]


def test_alerts_go_to_the_webhook(tree: settings.Settings) -> None:
    found = scraping.files(tree, webhook="http://127.0.0.1:9/hook")
    config = yaml.safe_load(found["alertmanager.yml"])
    receivers = {each["name"]: each for each in config["receivers"]}
    assert config["route"]["receiver"] == "webhook"
    assert config["route"]["routes"][0]["receiver"] == "webhook"
    assert receivers["webhook"]["webhook_configs"] == [{"url": "http://127.0.0.1:9/hook"}]


def test_rules_are_those_of_the_monitor(tree: settings.Settings) -> None:
    found = scraping.files(tree)
    shipped = {f"rules/{path.name}": path.read_text(encoding="utf-8") for path in promtool.FILES}
    assert {name: text for name, text in found.items() if name.startswith("rules/")} == shipped


def test_runbooks_may_be_published_elsewhere(tree: settings.Settings) -> None:
    found = scraping.files(tree, runbooks="https://pages.example/runbooks/")
    assert "runbook_url: https://pages.example/runbooks/decay.md" in found["rules/monitoring.yaml"]
    assert "docs/runbooks" not in found["rules/monitoring.yaml"]


def test_every_dashboard_is_there(tree: settings.Settings) -> None:
    found = scraping.files(tree)
    uids = {json.loads(text)["uid"] for name, text in found.items() if name.endswith(".json")}
    boards = ("overview", "rollout", "quality", "serving", "joining", "sharing")
    assert uids == {f"coppice-{name}" for name in boards}


def test_files_are_written_with_their_folders(tmp_path: Path) -> None:
    written = scraping.write(tmp_path / "new", {"rules/a.yaml": "a", "b.yml": "b"})
    assert written == [tmp_path / "new" / "rules" / "a.yaml", tmp_path / "new" / "b.yml"]
    assert (tmp_path / "new" / "rules" / "a.yaml").read_text() == "a"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("mine")
    with pytest.raises(errors.ProjectError, match=r"b\.yml is there already; `--force`"):
        scraping.write(tmp_path, {"a.yml": "a", "b.yml": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["b.yml"]


def test_force_writes_over_it(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("mine")
    scraping.write(tmp_path, {"b.yml": "b"}, force=True)
    assert (tmp_path / "b.yml").read_text() == "b"


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ProjectError, match="cannot write to"):
        scraping.write(tmp_path / "file", {"a/b.yml": "b"})


def test_an_address_of_the_sixth_version_is_in_brackets() -> None:
    assert scraping.Target("job", "serve.port", "::1", 3000).address == "[::1]:3000"


@promtool.needs_promtool
def test_prometheus_takes_the_configuration(tree: settings.Settings, tmp_path: Path) -> None:
    scraping.write(tmp_path / "out", scraping.files(tree))
    said = promtool.run("check", "config", tmp_path / "out" / "prometheus.yml")
    assert f"{len(promtool.FILES)} rule files found" in said


@pytest.mark.skipif(
    shutil.which("amtool") is None, reason="amtool (Debian: prometheus-alertmanager) is missing"
)
@pytest.mark.parametrize("webhook", ["", "http://127.0.0.1:9/hook"])
def test_alertmanager_takes_the_configuration(
    tree: settings.Settings, tmp_path: Path, webhook: str
) -> None:
    scraping.write(tmp_path / "out", scraping.files(tree, webhook=webhook))
    path = tmp_path / "out" / "alertmanager.yml"
    done = subprocess.run(
        ["amtool", "check-config", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
