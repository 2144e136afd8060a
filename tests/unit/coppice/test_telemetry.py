from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest
import structlog

from coppice import errors, telemetry


def fail() -> None:
    message = "broken"
    raise ValueError(message)


def log_an_exception() -> None:
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")


def test_a_line_is_one_json_object_that_names_its_plane(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("monitoring", json=True)

    structlog.get_logger().info("window closed", rows=400)

    line = json.loads(capsys.readouterr().err)
    assert {key: line[key] for key in ("event", "level", "plane", "rows")} == {
        "event": "window closed",
        "level": "info",
        "plane": "monitoring",
        "rows": 400,
    }
    assert line["timestamp"].endswith("Z")


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("serve", json=True)

    structlog.get_logger().warning("hello")

    assert capsys.readouterr().out == ""


def test_a_logger_that_was_used_writes_to_what_standard_error_is_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure("serve", json=True)
    log = structlog.get_logger("of a module")
    log.info("first")

    with contextlib.redirect_stderr(io.StringIO()) as elsewhere:
        log.info("second")

    assert json.loads(capsys.readouterr().err)["event"] == "first"
    assert json.loads(elsewhere.getvalue())["event"] == "second"


def test_a_logger_that_was_used_is_heard_by_a_capture() -> None:
    telemetry.configure("serve", json=True)
    log = structlog.get_logger("of a module")
    log.info("before")

    with structlog.testing.capture_logs() as heard:
        log.warning("within")

    assert [line["event"] for line in heard] == ["within"]


def test_lines_below_info_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("serve", json=True)

    structlog.get_logger().debug("detail")

    assert capsys.readouterr().err == ""


def test_without_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("serve")

    structlog.get_logger().info("hello")

    assert json.loads(capsys.readouterr().err)["event"] == "hello"


def test_an_exception_is_written_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("serve", json=True)

    log_an_exception()

    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: broken")


def test_a_person_reads_the_exception_too_and_no_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A warning would be an error in this suite.
    telemetry.configure("serve", json=False)

    log_an_exception()

    written = capsys.readouterr().err
    assert "failed" in written
    assert "broken" in written


def test_every_library_is_told_not_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "BENTOML_DO_NOT_TRACK",
        "DO_NOT_TRACK",
        "ITERATIVE_DO_NOT_TRACK",
        "OPENVINO_TELEMETRY_DISABLE",
    )
    for name in names:
        monkeypatch.setenv(name, "False")

    telemetry.silence()

    assert [os.environ[name] for name in names] == ["True", "1", "1", "1"]


def test_bentoml_understands_that() -> None:
    program = (
        "from coppice import telemetry; telemetry.silence();"
        "from bentoml._internal.utils.analytics import usage_stats;"
        "print(usage_stats.do_not_track())"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout == "True\n"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_traces_are_wanted_where_the_environment_names_a_collector(
    environment: dict[str, str],
    wanted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert telemetry.traced(environment) is wanted


def test_an_exporter_that_is_not_there_is_refused() -> None:
    with pytest.raises(errors.EnvironmentProblem, match="set it to otlp or none"):
        telemetry.traced({"OTEL_TRACES_EXPORTER": "zipkin"})
