"""What `coppice init` writes runs as it is: examined, pruned, refused, steered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import artifact, settings
from coppice.registry.bento import BentoRegistry

ENVIRONMENT = {
    # A busy machine times badly; the latency gate has tests of its own.
    "COPPICE_GATES__MIN_LATENCY_GAIN": "0.01",
    # Every section has tests of its own; here two show that they are made.
    "COPPICE_INSPECT__SECTIONS": '["metrics", "data"]',
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "80",
}

Done = subprocess.CompletedProcess[str]
pytestmark = pytest.mark.slow


def _coppice(*words: str | Path) -> Done:
    return subprocess.run(
        [sys.executable, "-P", "-m", "coppice_cli", *map(str, words)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def _scaffolded(where: Path, task: str) -> Path:
    done = _coppice("init", where, "--task", task)
    assert done.returncode == 0, done.stderr
    return where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _scaffolded(tmp_path_factory.mktemp("scaffold") / "my model", "binary")


@pytest.fixture(scope="module")
def pruned(folder: Path) -> Done:
    return _coppice("prune", "-C", folder, "--reason", "first version")


@pytest.fixture(scope="module")
def refused(folder: Path, pruned: Done) -> Done:
    assert pruned.returncode == 0, pruned.stderr
    return _coppice(
        "prune", "-C", folder, "--amount", "0.97", "--criterion", "random", "--no-recovery"
    )


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_scaffold_of_every_task_is_pruned_as_it_is(tmp_path: Path, task: str) -> None:
    folder = _scaffolded(tmp_path / task, task)
    done = _coppice("prune", "-C", folder)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(f"{task}:") for line in done.stdout.splitlines())


def test_a_first_version_is_accepted_and_registered(folder: Path, pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    tree = settings.load(folder)
    registry = BentoRegistry(tree.registry_path)
    (version,) = re.findall(r"^(my-model:\S+) accepted:", pruned.stdout, re.MULTILINE)
    manifest = artifact.verify(registry.path(version), version)
    assert manifest.parent == registry.aliases(tree.project.name)["parent"]
    assert (manifest.name, manifest.task) == ("my-model", "binary")


def test_its_figures_stand_beside_those_of_its_parent(pruned: Done) -> None:
    assert "dense parent  null control  candidate" in pruned.stdout
    assert "times fewer MACs" in pruned.stdout


def test_an_over_pruned_candidate_is_refused_with_the_gate_that_failed(refused: Done) -> None:
    assert refused.returncode == 4
    assert "refused: kept in the registry" in refused.stdout
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert "gate 'score': a drop of" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_status_shows_the_refusal_and_that_nothing_runs(folder: Path, refused: Done) -> None:
    assert refused.returncode == 4
    done = _coppice("status", "-C", folder)
    assert done.returncode == 0
    assert "no champion yet" in done.stdout
    assert " refused " in done.stdout


def test_the_doctor_verifies_what_was_made(folder: Path, refused: Done) -> None:
    assert refused.returncode == 4
    done = _coppice("doctor", "-C", folder, "--json")
    findings: list[dict[str, Any]] = msgspec.json.decode(done.stdout)
    assert done.returncode == 0
    # The default ports may be taken on the machine that runs the tests.
    assert {found["check"] for found in findings if found["level"] != "ok"} <= {"ports"}
    (registry,) = [found for found in findings if found["check"] == "registry"]
    # Dense parent, accepted candidate, refused candidate.
    assert registry["text"] == "3 versions, every digest checked"


def test_a_pipeline_stops_at_the_refused_version_and_learns_what_would_pass(
    folder: Path, refused: Done
) -> None:
    assert (
        "the nearest recipe of this parent that passed: 50% of the channels by magnitude"
        in refused.stderr
    )
    tree = settings.load(folder)
    version = BentoRegistry(tree.registry_path).tags(tree.project.name)[0]
    done = _coppice("gate", "-C", folder, version, "--format", "github")
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith("::error title=my-model%3A")


def test_a_refused_version_has_a_page_that_says_so(folder: Path, refused: Done) -> None:
    assert refused.returncode == 4
    tree = settings.load(folder)
    version = BentoRegistry(tree.registry_path).tags(tree.project.name)[0]
    done = _coppice("report", "-C", folder, version.partition(":")[2][:8])
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip().removeprefix("wrote ")).read_text(encoding="utf-8")
    assert "This version must not be rolled out" in page
    assert "How good the answers are" in page


def test_an_edited_artifact_is_found_by_the_doctor(folder: Path, refused: Done) -> None:
    assert refused.returncode == 4
    tree = settings.load(folder)
    registry = BentoRegistry(tree.registry_path)
    card = registry.path(registry.tags(tree.project.name)[0]) / artifact.CARD
    content = card.read_bytes()
    card.chmod(0o644)
    card.write_bytes(content.replace(b"refused", b"accepted"))
    done = _coppice("doctor", "-C", folder)
    card.write_bytes(content)
    assert done.returncode == 1
    assert "card.json was altered" in " ".join(done.stdout.split())
