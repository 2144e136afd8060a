"""The compose file keeps the rules, the rules catch their faults, and what it mounts is true."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from coppice import settings
from coppice_cli import scraping
from tests.support import composed, house, promtool

FOLDER = house.ROOT / "deploy"
COMPOSED = composed.load(FOLDER / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSED["services"]
PROVISIONING = FOLDER / "provisioning"
LETTERS = ("COPPICE_", "GF_")


def broken(change: Callable[[dict[str, Any]], object]) -> list[str]:
    damaged = copy.deepcopy(COMPOSED)
    change(damaged["services"])
    return composed.findings(damaged, FOLDER)


def loaded(name: str) -> dict[str, Any]:
    text = (PROVISIONING / name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_file_keeps_the_rules() -> None:
    assert composed.findings(COMPOSED, FOLDER) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda s: s["server"].update(image="coppice-server"), "no tag"),
        (lambda s: s["kafka"].update(image="apache/kafka:latest"), "no tag"),
        (lambda s: s["kafka"].update(image="reg.example/kafka:4"), "names a registry"),
        (lambda s: s["server"].update(user="root"), "runs as root"),
        (lambda s: s["kafka"].pop("user"), "runs as root"),
        (lambda s: s["kafka"].pop("cap_drop"), "capabilities"),
        (lambda s: s["kafka"].pop("security_opt"), "privileges"),
        (lambda s: s["server"].update(network_mode="host"), "network of the host"),
        (lambda s: s["relay"].update(network_mode="service:x"), "no such service"),
        (lambda s: s["relay"].update(ports=["127.0.0.1:1:1"]), "cannot have ports"),
        (lambda s: s["relay"].update(command=["relays"]), "no command"),
        (lambda s: s["relay"].update(command=["relay", "--fast"]), "no option --fast"),
        (lambda s: s["kafka"]["environment"].update(TOKEN="x"), "secret"),
        (lambda s: s["kafka"]["environment"].update(A=1), "not text"),
        (lambda s: s["kafka"]["volumes"].append("more:/more"), "no such volume"),
        (lambda s: s["kafka"]["volumes"].append("./none:/none:ro"), "not there"),
        (lambda s: s["kafka"]["volumes"].append("./images:/images"), "only be read"),
        (lambda s: s["kafka"]["volumes"].append("kafka:data"), "not absolute"),
        (lambda s: s["server"].update(env_file=["other.env"]), "no example"),
        (lambda s: s["server"]["build"].update(dockerfile="None"), "not there"),
        (lambda s: s["server"].update(depends_on={"none": {}}), "which there is not"),
        (lambda s: s["server"].update(depends_on={"kafka": {}}), "without a condition"),
        (lambda s: s["kafka"].pop("healthcheck"), "has no check"),
        (lambda s: s["kafka"]["healthcheck"].update(test=["CMD-SHELL", "x"]), "list of words"),
        (lambda s: s["server"].update(ports=["0.0.0.0:3000:3000"]), "other machines"),
        (lambda s: s["server"].update(ports=["127.0.0.1:9093:3000"]), "published twice"),
        (lambda s: s["server"].update(privileged=True), "no element"),
        (
            lambda s: s["kafka"].update(depends_on={"topics": {"condition": "service_started"}}),
            "wait for each other",
        ),
    ],
)
def test_a_rule_catches_its_fault(change: Callable[[dict[str, Any]], object], finding: str) -> None:
    assert [one for one in broken(change) if finding in one]


def test_every_process_of_the_loop_is_there() -> None:
    ours = {name for name, one in SERVICES.items() if one["image"].startswith("coppice-")}
    assert ours == {
        "server",
        "relay",
        "follow",
        "monitor",
        "rollout",
        "retrain",
        "topics",
        "network",
    }


def test_processes_of_ours_write_nothing_but_their_state() -> None:
    ours = [one for one in SERVICES.values() if one["image"].startswith("coppice-")]
    assert {one["read_only"] for one in ours} == {True}


def test_the_settings_that_it_sets_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["server"]["environment"].items():
        monkeypatch.setenv(name, value)

    tree = settings.load(house.ROOT / "examples" / "01_digits")

    assert settings.environment_typos() == []
    assert tree.events.backend == "kafka"


@pytest.mark.parametrize("name", ["coppice.env", "grafana.env"])
def test_the_example_of_secrets_holds_none(name: str) -> None:
    lines = (FOLDER / f"{name}.example").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert named
    assert [line for line in named if not line.endswith("=") or not line.startswith(LETTERS)] == []


@pytest.mark.parametrize("name", ["coppice.env", "grafana.env"])
def test_a_file_of_secrets_is_kept_out_of_the_repository(name: str) -> None:
    argv = ["git", "check-ignore", "-q", f"deploy/{name}"]
    assert subprocess.run(argv, cwd=house.ROOT, check=False).returncode == 0


def test_prometheus_looks_at_every_process_where_it_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SERVICES["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    tree = settings.load(house.ROOT / "examples" / "01_digits")
    expected = {target.job: target.address for target in scraping.targets(tree)}
    found = {
        job["job_name"]: job["static_configs"][0]
        for job in loaded("prometheus.yml")["scrape_configs"]
    }

    assert {job: one["targets"][0] for job, one in found.items()} == {
        **expected,
        # The one that is in a network of its own.
        "coppice-service": "server:3000",
    }
    assert [one["labels"]["model"] for one in found.values()] == ["digits"] * len(expected)


def test_the_alertmanager_gets_what_the_command_writes() -> None:
    tree = settings.load(house.ROOT / "examples" / "01_digits")
    written = (PROVISIONING / "alertmanager.yml").read_text(encoding="utf-8")
    assert written == scraping.files(tree)["alertmanager.yml"]


def test_grafana_asks_prometheus_where_it_is() -> None:
    (source,) = loaded("grafana/datasource.yaml")["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert SERVICES["prometheus"]["network_mode"] == f"service:{host}"
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]


def test_grafana_finds_our_dashboards() -> None:
    (provider,) = loaded("grafana/dashboards.yaml")["providers"]
    assert (
        f"../monitoring/dashboards:{provider['options']['path']}:ro"
        in SERVICES["grafana"]["volumes"]
    )


@promtool.needs_promtool
def test_promtool_accepts_the_configuration() -> None:
    said = promtool.run("check", "config", "--syntax-only", PROVISIONING / "prometheus.yml")
    assert "SUCCESS" in said


@pytest.mark.skipif(
    shutil.which("amtool") is None,
    reason="amtool (Debian: prometheus-alertmanager) is not installed",
)
def test_amtool_accepts_the_configuration() -> None:
    argv = ["amtool", "check-config", str(PROVISIONING / "alertmanager.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
