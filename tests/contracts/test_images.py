"""The Containerfiles keep the rules, and the rules catch what they are for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import containerfile, house, slim

IMAGES = house.ROOT / "deploy" / "images"
FILES = sorted(IMAGES.glob("Containerfile.*"))
GOOD = """FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/venv
FROM python:3.11-slim-bookworm
COPY --from=build /opt/venv /opt/venv
COPY coppice /opt/coppice
USER 10001
CMD ["python"]
"""
LAST = 'CMD ["python"]\n'


def pins(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.lower() for line in lines if line and not line.startswith("#")]


def test_there_are_three_images() -> None:
    assert [path.suffix for path in FILES] == [".baked", ".server", ".worker"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_containerfile_keeps_the_rules(path: Path) -> None:
    assert containerfile.findings(path.read_text(encoding="utf-8"), house.ROOT) == []


def test_a_good_one_has_no_findings() -> None:
    assert containerfile.findings(GOOD, house.ROOT) == []


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ("FROM python:3.11-slim-bookworm\n", "FROM python\n", "no tag"),
        ("FROM python:3.11-slim-bookworm\n", "FROM python:latest\n", "no tag"),
        ("FROM python:3.11-slim-bookworm\n", "FROM reg.example/a:1\n", "registry"),
        ("USER 10001\n", "", "no USER"),
        ("USER 10001\n", "USER root\n", "root"),
        ("USER 10001\n", "USER 0:0\n", "root"),
        ("COPY coppice ", "COPY nowhere ", "hides"),
        ("COPY coppice ", "COPY coppice/nowhere ", "not there"),
        ("COPY coppice ", "ADD coppice ", "COPY"),
        ("--from=build", "--from=other", "no such stage"),
        (LAST, "CMD python\n", "shell line"),
        (LAST, "RUN curl x\n", "brings that program"),
        (LAST, "RUN sudo ls\n", "sudo"),
        (LAST, "RUN /opt/venv/bin/pip list\n", "brings that program"),
        (LAST, "RUN python -m pip install x\n", "cache"),
        (LAST, "RUN apt-get install --no-install-recommends x\n", "lists of apt"),
        (LAST, "RUN apt-get install x && rm /var/lib/apt/lists\n", "nobody asked for"),
        (LAST, "ENV API_TOKEN=abc\n", "secret"),
        (LAST, "ARG DB_PASSWORD=abc\n", "secret"),
        (LAST, "RUN python https://example.org/x\n", "address"),
    ],
)
def test_a_rule_catches_its_fault(good: str, bad: str, finding: str) -> None:
    assert good in GOOD
    found = containerfile.findings(GOOD.replace(good, bad), house.ROOT)
    assert [one for one in found if finding in one]


def test_the_servers_pins_are_those_of_everything() -> None:
    everything = set(pins(house.ROOT / "constraints.txt"))
    assert set(pins(IMAGES / "server-requirements.txt")) - everything == set()


def test_openvino_is_an_argument_away_and_adds_nothing_else() -> None:
    found = pins(IMAGES / "server-openvino-requirements.txt")
    assert found[0] == "-r server-requirements.txt"
    assert [pin.partition("==")[0] for pin in found[1:]] == ["openvino", "openvino-telemetry"]
    assert set(found[1:]) <= set(pins(house.ROOT / "constraints.txt"))


@pytest.mark.parametrize(
    ("given", "installed"),
    [
        ({}, "server-requirements.txt"),
        (
            {"REQUIREMENTS": "server-openvino-requirements.txt"},
            "server-openvino-requirements.txt",
        ),
    ],
)
def test_the_server_s_requirements_are_an_argument(given: dict[str, str], installed: str) -> None:
    (words,) = (words for words in slim.build_steps(Path("/v"), **given) if "--no-deps" in words)
    assert words[-1] == str(IMAGES / installed)
    assert Path(words[-1]).is_file()


def test_the_servers_pins_are_sorted_and_once() -> None:
    found = pins(IMAGES / "server-requirements.txt")
    assert found == sorted(set(found))


def test_the_server_gets_the_quick_parser_and_event_loop() -> None:
    # Without them uvicorn falls back to others, silently, at a multiple of the price.
    names = {pin.partition("==")[0] for pin in pins(IMAGES / "server-requirements.txt")}
    assert {"httptools", "uvloop"} <= names


def test_the_server_gets_nothing_for_learning_or_judging() -> None:
    names = {pin.partition("==")[0] for pin in pins(IMAGES / "server-requirements.txt")}
    heavy = {"torch", "evidently", "matplotlib", "scikit-learn", "scipy", "pandas", "onnx"}
    assert names & heavy == set()


def test_the_server_says_when_it_is_healthy_and_how_it_ends() -> None:
    words = {step.word: step.text for step in containerfile.steps(slim.SERVER.read_text())}
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert "/v2/health/ready" in words["HEALTHCHECK"]


def test_both_images_run_as_the_same_user() -> None:
    users = {re.search(r"^USER (.+)$", path.read_text(), re.MULTILINE)[1] for path in FILES}  # type: ignore[index]
    assert users == {"10001:10001"}


def test_what_the_containerfiles_copy_is_all_that_they_see() -> None:
    copied = {
        word.split("/")[0]
        for path in FILES
        for step in containerfile.steps(path.read_text())
        if step.word == "COPY" and "--from" not in step.text
        for word in step.text.split()[:-1]
    }
    lines = (house.ROOT / ".containerignore").read_text().splitlines()
    assert copied == {line[1:] for line in lines if line.startswith("!")}


def test_the_wheel_is_tried_with_what_the_workers_image_installs() -> None:
    worker = (IMAGES / "Containerfile.worker").read_text()
    tried = re.search(r"\[([a-z0-9,]+)\]\"", (house.ROOT / "Makefile").read_text())

    assert tried is not None
    assert containerfile.arguments(containerfile.steps(worker))["EXTRAS"] == tried[1]
    assert tried[1] == "kafka,parquet,k8s"
    assert '"/build[${EXTRAS}]"' in worker
