"""The monitor as a process of its own: started, asked over HTTP, killed, and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from coppice import errors, eventlog, records, registry, settings
from monitoring import loop
from tests.support import artifacts, traffic

PROGRAM = """
import sys
from pathlib import Path
from coppice import settings
from monitoring import loop
loop.main(settings.load(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "coppice.toml").write_text(
        f'[project]\nname = "tiny"\ntask = "binary"\n[monitor]\nport = {port}\npoll_seconds = 0.05'
    )
    return settings.load(folder)


@pytest.fixture(scope="module")
def champion(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    artifacts.linear_classifier(folder)
    return registry.open_registry(project).add(folder)


@pytest.fixture(scope="module")
def log(project, champion):
    opened = eventlog.open_log(project)
    write(
        opened,
        records.Rollout(
            model="tiny", stage="idle", champion=champion, outcome="promoted", reason="test"
        ),
        *(traffic.prediction(f"r{number}", champion, [1]) for number in range(20)),
        *(traffic.feedback(f"r{number}", "yes") for number in range(20)),
    )
    yield opened
    opened.close()


def write(log, *found):
    log.append([records.seal(each, source="test", now=time.time()) for each in found])


def start(project):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(project.root)])


def ask(project, path, until):
    """Ask a page until it says what is waited for."""
    url = f"http://127.0.0.1:{project.monitor.port}{path}"
    deadline = time.monotonic() + 300.0
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if until(answer):
            return answer
        time.sleep(0.05)
    message = f"{url} never said what was waited for"
    raise AssertionError(message)


def labelled(count):
    return lambda answer: (
        answer.json()["state"] is not None
        and any(each["labelled"] == count for each in answer.json()["state"]["versions"])
    )


def verdicts(log):
    return [e for e in log.read("", 10_000).events if e.type == "coppice.verdict.v1"]


def end(process, number):
    process.send_signal(number)
    return process.wait(timeout=300)


def test_a_monitor_answers_survives_a_kill_and_ends_on_request(project, champion, log):
    process = start(project)
    try:
        state = ask(project, "/v1/state?model=tiny", labelled(20)).json()["state"]
        assert state["champion"] == champion
        assert ask(project, "/v1/verdict?model=tiny", bool).json()["verdict"] == "undecided"
        page = ask(project, "/metrics", bool).text
        assert (
            f'coppice_accuracy_ratio{{model="tiny",slice="all",version="{champion}"}} 1.0' in page
        )
    finally:
        process.kill()
        process.wait()
    spoken = len(verdicts(log))

    write(log, traffic.prediction("late", champion, [1]), traffic.feedback("late", "yes"))
    process = start(project)
    try:
        ask(project, "/v1/state?model=tiny", labelled(21))
        assert end(process, signal.SIGTERM) == 0
    finally:
        process.kill()
        process.wait()
    assert len(verdicts(log)) == spoken == 1
    assert (project.home / "monitor" / "state.msgpack").exists()


def test_a_port_that_is_taken_ends_the_monitor_with_a_clear_error(project, log):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", project.monitor.port))
        taken.listen()
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(errors.EnvironmentProblem, match=r"monitor\.port"):
                loop.main(project)
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])
