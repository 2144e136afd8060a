from __future__ import annotations

import socket
from pathlib import Path

import pytest

from coppice_cli.doctor import machine
from coppice_cli.supervise import lock
from tests.support import command_line, pages


def test_the_libraries_of_this_environment_work() -> None:
    assert [found.level for found in machine.libraries(machine.required())] == ["ok"]


def test_the_pandas_that_evidently_cannot_import_is_excluded() -> None:
    assert "pandas<3.1,>=2.3" in machine.required()


def test_a_library_that_is_missing_or_of_a_wrong_version_is_a_problem() -> None:
    found = machine.libraries(["numpy<1", "no-such-library>=2", "rich>=1"])
    assert [each.level for each in found] == ["problem", "problem"]
    assert "but Coppice needs numpy<1" in found[0].text
    assert found[1].text == "no-such-library is not installed"


def test_requirements_of_extras_and_other_systems_do_not_count() -> None:
    others = ['no-such-library; extra == "dev"', 'no-such-library; sys_platform == "nowhere"']
    assert [found.level for found in machine.libraries(others)] == ["ok"]


def test_nothing_is_shadowed_here() -> None:
    assert [found.level for found in machine.packages()] == ["ok"]


def test_a_shadowed_package_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.guard, "shadows", lambda: [("deploy", tmp_path / "deploy.py")])
    (found,) = machine.packages()
    assert found.level == "problem"
    assert str(tmp_path / "deploy.py") in found.text


def test_a_misspelt_variable_is_a_warning_that_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COPPICE_SERVE__PROT", "8080")
    (found,) = machine.variables()
    assert found.level == "warning"
    assert "COPPICE_SERVE__PORT" in found.text


def test_variables_that_settings_read_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPPICE_SERVE__PORT", "8080")
    assert [found.level for found in machine.variables()] == ["ok"]


def test_free_ports_are_fine(tmp_path: Path) -> None:
    tree = command_line.project(
        tmp_path,
        "[serve]",
        f"port = {pages.free_port()}",
        "[monitor]",
        f"port = {pages.free_port()}",
    )
    assert [found.level for found in machine.ports(tree)] == ["ok", "ok"]


def test_a_taken_port_is_a_warning_because_it_may_be_coppice(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        tree = command_line.project(
            tmp_path, "[serve]", f"port = {taken}", "[monitor]", f"port = {pages.free_port()}"
        )
        found = machine.ports(tree)
    assert [each.level for each in found] == ["warning", "ok"]
    assert "serve.port" in found[0].remedy


def test_while_coppice_runs_its_ports_are_rightly_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        tree = command_line.project(tmp_path, "[serve]", f"port = {taken}")
        with lock.hold(tree.home):
            lock.write_status(tree.home, lock.Status(pid=17, started_at=0.0))
            (found,) = machine.ports(tree)
    assert (found.level, found.text) == (
        "ok",
        "in use by `coppice up`, which runs as process 17",
    )


def test_two_processes_cannot_share_a_port(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, "[serve]", "port = 4000", "[monitor]", "port = 4000")
    (found,) = machine.ports(tree)
    assert (found.level, found.remedy) == ("problem", "give each its own port")
    assert found.text == "serve.port and monitor.port are the same: 4000"


def test_the_controllers_doors_count_once_they_are_opened(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, "[rollout]", "port = 3001")
    (found,) = machine.ports(tree)
    assert found.text == "monitor.port and rollout.port are the same: 3001"


@pytest.mark.parametrize(
    ("free", "level"),
    [
        (machine.NO_SPACE - 1, "problem"),
        (machine.NO_SPACE, "warning"),
        (machine.LITTLE_SPACE - 1, "warning"),
        (machine.LITTLE_SPACE, "ok"),
    ],
)
def test_the_less_room_the_worse(tmp_path: Path, free: int, level: str) -> None:
    assert machine.room(free, tmp_path).level == level


def test_the_disk_is_measured_where_the_home_will_be(tmp_path: Path) -> None:
    (found,) = machine.disk(tmp_path / "not" / "there" / "yet")
    assert found.text.endswith(f"free at {tmp_path}")


def test_a_server_that_others_reach_needs_its_own_routing_secret(tmp_path: Path) -> None:
    exposed = command_line.project(tmp_path, "[serve]", 'host = "0.0.0.0"')
    (found,) = machine.secret(exposed)
    assert found.level == "warning"
    assert "COPPICE_SERVE__ROUTING_KEY_SECRET" in found.remedy


@pytest.mark.parametrize(
    "lines", [[], ["[serve]", 'host = "0.0.0.0"', 'routing_key_secret = "my own"']]
)
def test_on_loopback_or_with_a_secret_of_its_own_nothing_is_said(
    tmp_path: Path, lines: list[str]
) -> None:
    assert machine.secret(command_line.project(tmp_path, *lines)) == []
