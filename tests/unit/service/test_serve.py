"""How the server process is started."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
from coppice import errors, settings
from service import serve
from tests.support import house


def tree(root: Path, port: int, **fields: object) -> settings.Settings:
    tables = {"project": {"name": "tiny"}, "serve": {"port": port, **fields}}
    return settings.from_tree(tables, root=root)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens, as long as the test runs."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_the_command_is_bentoml_on_our_service(tmp_path: Path) -> None:
    found = serve.command(tree(tmp_path, 1024))
    assert found[:5] == [sys.executable, "-m", "bentoml", "serve", "service.app:Coppice"]
    options = dict(zip(found[5::2], found[6::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "1024"
    assert Path(options["--working-dir"]) / "service" / "__init__.py" == Path(str(service.__file__))


def test_idle_connections_are_kept_longer_than_usual_proxies_keep_theirs(tmp_path: Path) -> None:
    found = serve.command(tree(tmp_path, 1024))
    # nginx and the load balancers of large clouds close theirs after 60 s, httpx after 5 s.
    assert int(found[found.index("--timeout-keep-alive") + 1]) > 60


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path, taken: int) -> None:
    with pytest.raises(errors.EnvironmentProblem, match=f"port {taken} .* is taken"):
        serve.command(tree(tmp_path, taken))


def test_a_taken_grpc_port_is_named_by_its_own_setting(tmp_path: Path, taken: int) -> None:
    with pytest.raises(errors.EnvironmentProblem, match="COPPICE_SERVE__GRPC_PORT"):
        serve.command(tree(tmp_path, 1024, grpc_port=taken))


def test_grpc_that_is_wanted_but_not_installed_is_said_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's own mark of a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(errors.EnvironmentProblem, match=r"pip install 'coppice\[grpc\]'"):
        serve.command(tree(tmp_path, 1024, grpc_port=1025))


def test_the_service_is_there_without_grpc() -> None:
    program = "import sys; sys.modules['grpc'] = None; import service.app, service.front"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=house.ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737), so nobody has it.
    with pytest.raises(errors.EnvironmentProblem, match=r"cannot listen on 192\.0\.2\.1"):
        serve.command(tree(tmp_path, 1024, host="192.0.2.1"))


def test_the_environment_names_the_project_and_gives_it_a_home_of_its_own(tmp_path: Path) -> None:
    made = tree(tmp_path, 1024, workers=3)
    found = serve.environment(made)
    assert found["COPPICE_PROJECT"] == str(tmp_path.resolve())
    assert found["BENTOML_HOME"] == str(made.registry_path)
    overrides = json.loads(found["BENTOML_CONFIG_OVERRIDES"])
    assert overrides["services"]["coppice"]["workers"] == 3


def test_the_environment_keeps_what_is_set_and_reports_home_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPPICE_SERVE__PORT", "1234")
    found = serve.environment(tree(tmp_path, 1024))
    assert found["COPPICE_SERVE__PORT"] == "1234"
    assert found["BENTOML_DO_NOT_TRACK"] == "True"


def test_a_worker_that_dies_in_a_container_is_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BentoML sets this in its images, and starts no new worker then.
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    assert "BENTOML_CONTAINERIZED" not in serve.environment(tree(tmp_path, 1024))


@pytest.fixture
def _no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `tracing` were not installed."""
    monkeypatch.setitem(sys.modules, serve.EXPORTER, None)


@pytest.mark.usefixtures("_no_exporter")
def test_traces_without_the_exporter_are_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    with pytest.raises(errors.EnvironmentProblem, match=r"pip install 'coppice\[tracing\]'"):
        serve.command(tree(tmp_path, 1024))


@pytest.mark.usefixtures("_no_exporter")
def test_nobody_who_wants_no_traces_needs_the_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert serve.command(tree(tmp_path, 1024))
