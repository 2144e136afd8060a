from __future__ import annotations

import http.server
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coppice_cli.supervise import children
from coppice_cli.supervise.children import Process
from tests.support import programs

HIDDEN_WORKER = """
import os, subprocess, sys, time
worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open(sys.argv[1] if len(sys.argv) > 1 else os.environ["PID_FILE"], "w") as file:
    file.write(f"{worker.pid}\\n")
time.sleep(600)
"""


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes that are cleared away after the test, whatever it did."""
    made: list[Process] = []
    yield made
    for process in made:
        process.clear_away()


def started(child: children.Child, home: Path, made: list[Process]) -> Process:
    process = Process(child, home)
    made.append(process)
    process.start()
    return process


def ended(process: Process) -> int | None:
    programs.until(lambda: process.exit_code() is not None)
    return process.exit_code()


def test_a_program_gets_its_environment(tmp_path: Path, processes: list[Process]) -> None:
    child = children.Child(
        name="echo", argv=("sh", "-c", "echo $GREETING"), environment={"GREETING": "good day"}
    )
    process = started(child, tmp_path, processes)
    assert ended(process) == 0
    assert process.tail() == "good day"


def test_output_and_errors_go_to_the_log(tmp_path: Path, processes: list[Process]) -> None:
    child = children.Child(name="both", argv=("sh", "-c", "echo out; echo err >&2; exit 3"))
    process = started(child, tmp_path, processes)
    assert ended(process) == 3
    assert (tmp_path / "logs" / "both.log").read_text() == "out\nerr\n"


def test_the_log_goes_on_after_a_restart(tmp_path: Path, processes: list[Process]) -> None:
    process = started(children.Child(name="once", argv=("echo", "hi")), tmp_path, processes)
    ended(process)
    process.start()
    ended(process)
    assert process.tail() == "hi\nhi"


def test_only_the_last_lines_are_shown(tmp_path: Path) -> None:
    process = Process(programs.sleeper(), tmp_path)
    process.log.parent.mkdir()
    process.log.write_text("\n".join(map(str, range(100))))
    assert process.tail().splitlines() == list(map(str, range(85, 100)))


def test_there_may_be_no_log_yet(tmp_path: Path) -> None:
    assert Process(programs.sleeper(), tmp_path).tail() == ""


def test_a_log_that_is_too_large_moves_aside(
    tmp_path: Path, processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MAX_LOG_BYTES", 10)
    code = "import time\nprint('x' * 50, flush=True)\ntime.sleep(1)\nprint('later', flush=True)"
    process = started(programs.python("talker", code), tmp_path, processes)
    programs.until(lambda: process.log.exists() and process.log.stat().st_size > 50)
    process.trim_log()
    assert process.log.with_suffix(".log.1").read_text() == "x" * 50 + "\n"
    ended(process)
    # The program writes on at the new beginning, not behind a hole.
    assert process.log.read_text() == "later\n"


def test_a_program_that_does_not_exist_is_explained_in_its_log(
    tmp_path: Path, processes: list[Process]
) -> None:
    child = children.Child(name="none", argv=("/does/not/exist",))
    process = started(child, tmp_path, processes)
    assert ended(process) == 1
    assert process.tail() == "cannot start /does/not/exist: No such file or directory"


def test_nothing_runs_before_the_start(tmp_path: Path) -> None:
    process = Process(programs.sleeper(), tmp_path)
    assert (process.pid, process.exit_code()) == (None, None)
    process.ask_to_end()
    process.clear_away()


def test_a_program_runs_in_a_session_of_its_own(tmp_path: Path, processes: list[Process]) -> None:
    process = started(programs.sleeper(), tmp_path, processes)
    assert process.pid is not None
    assert os.getsid(process.pid) == process.pid


def test_asking_to_end_sends_sigterm(tmp_path: Path, processes: list[Process]) -> None:
    process = started(programs.sleeper(), tmp_path, processes)
    process.ask_to_end()
    assert ended(process) == -signal.SIGTERM


def test_clearing_away_reaches_workers_that_hide_in_their_own_session(
    tmp_path: Path, processes: list[Process]
) -> None:
    code = HIDDEN_WORKER
    child = children.Child(
        name="master",
        argv=programs.python("master", code).argv,
        environment={"PID_FILE": str(tmp_path / "pid")},
    )
    process = started(child, tmp_path, processes)
    worker = programs.pid_in(tmp_path / "pid")
    assert process.pid is not None
    # The worst order: the master dies by kill -9 and can tell nobody about its worker.
    os.kill(process.pid, signal.SIGKILL)
    ended(process)
    assert programs.alive(worker)
    process.clear_away()
    assert not programs.alive(worker)


def test_clearing_away_leaves_other_children_alone(
    tmp_path: Path, processes: list[Process]
) -> None:
    first = started(programs.sleeper("one"), tmp_path, processes)
    second = started(programs.sleeper("one-more"), tmp_path, processes)
    elsewhere = started(programs.sleeper("one"), tmp_path / "elsewhere", processes)
    first.clear_away()
    assert (first.pid, second.exit_code(), elsewhere.exit_code()) == (None, None, None)


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/fine" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_an_address_that_answers_is_ready(server: str) -> None:
    assert children.http_ready(f"{server}/fine")()


def test_an_address_that_answers_with_an_error_is_not(server: str) -> None:
    assert not children.http_ready(f"{server}/busy")()


def test_an_address_where_nobody_listens_is_not() -> None:
    # Port 9 is reserved for discarding; nothing listens there on loopback.
    assert not children.http_ready("http://127.0.0.1:9/")()


def test_a_proxy_in_the_environment_is_not_asked(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert children.http_ready(f"{server}/fine")()
