"""The environment of the server image, made by the very steps of its Containerfile."""

from __future__ import annotations

import fcntl
import os
import shlex
import string
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import containerfile, house

SERVER = house.ROOT / "deploy" / "images" / "Containerfile.server"
VENV, CONTEXT = "/opt/venv", "/build/"
MADE = "SLIM_ENVIRONMENT"
INSTALL_SECONDS = 600
"""Longest wait for pip; half a minute is usual."""


def build_steps(venv: Path, **given: str) -> list[list[str]]:
    """Return the commands of the first stage, with the image's places put elsewhere.

    `given` are build arguments in place of their defaults.
    """
    images = house.ROOT / "deploy" / "images"
    found = containerfile.steps(SERVER.read_text(encoding="utf-8"))
    runs = [step.text for step in found if step.word == "RUN" and step.stage == 0]
    arguments = containerfile.arguments(found) | given
    moved = [
        string.Template(run)
        .substitute(arguments)
        .replace(VENV, shlex.quote(str(venv)))
        .replace(CONTEXT, f"{images}/")
        for run in runs
    ]
    return [words for run in moved for words in containerfile.commands(run)]


def environment(shared: Path) -> Path:
    """Return an environment with what the image has, made once for all processes of a run.

    `SLIM_ENVIRONMENT` names one that was made before. Skips the test where pip cannot install, or
    takes too long: the pins are then not in reach.
    """
    if MADE in os.environ:
        return Path(os.environ[MADE])
    venv, done = shared / "slim", shared / "slim.done"
    with (shared / "slim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            done.write_text(_make(venv))
    if reason := done.read_text():
        pytest.skip(f"pip cannot install the server's requirements here: {reason}")
    return venv


def _make(venv: Path) -> str:
    """Run the steps; return why pip could not install, or nothing."""
    for words in build_steps(venv):
        argv = [sys.executable, *words[1:]] if words[0] == "python" else words
        try:
            ran = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(words)} took longer than {INSTALL_SECONDS} s"
        if ran.returncode and "install" in words:
            return ran.stderr.strip()[-500:] or "no reason given"
        assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
    return ""


def variables(**more: str) -> dict[str, str]:
    """Return an environment without ours: no PYTHONPATH, no COPPICE_ and no BENTOML_ variable."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COPPICE_", "BENTOML_", "PYTHON", "VIRTUAL_ENV"))
    }
    return {**kept, "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1", **more}
