"""A real sweep of a tiny project: killed, interrupted, gone on with, and looked at in a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from retrain.report import sweep_page
from retrain.sweep import record, summary
from tests.support import browser, house, programs, sweeps

WORDS = ("--criteria", "magnitude,ablation", "--amounts", "0.5,0.75", "--seeds", "2")
# The project's module lies beside the tests.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(house.ROOT), "OMP_NUM_THREADS": "1"}
LIMIT_SECONDS = 600
"""Of each run; on a quiet machine it takes a few."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * LIMIT_SECONDS)]


class Story(NamedTuple):
    """A sweep that was killed, then interrupted, then finished, and what each run left behind."""

    folder: Path
    after_kill: dict[str, int]
    interrupted: subprocess.CompletedProcess[str]
    after_interrupt: dict[str, int]
    left_then: int
    finished: subprocess.CompletedProcess[str]
    found: record.Sweep


def parts(folder: Path) -> dict[str, int]:
    """When each finished part was written, by name, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "parts").rglob("*.json")}


def outcomes(folder: Path) -> int:
    return sum(b'"combination"' in path.read_bytes() for path in (folder / "parts").rglob("*.json"))


def command(project: Path) -> list[str]:
    argv = [sys.executable, "-P", "-m", "coppice_cli", "sweep", "-C", str(project)]
    return [*argv, "--out", str(project / "out"), *WORDS]


def stopped(
    argv: list[str], by: signal.Signals, when: Callable[[], bool]
) -> subprocess.CompletedProcess[str]:
    """Start a process, and send it a signal as soon as something is so."""
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        try:
            programs.until(lambda: when() or process.poll() is not None, LIMIT_SECONDS)
            assert process.poll() is None, process.communicate()
        except AssertionError:
            process.kill()
            raise
        process.send_signal(by)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    project = sweeps.project(tmp_path_factory.mktemp("sweep"))
    folder, argv = project / "out", command(project)
    stopped(argv, signal.SIGKILL, lambda: outcomes(folder) >= 1)
    after_kill = parts(folder)
    known = outcomes(folder)
    interrupted = stopped(argv, signal.SIGINT, lambda: outcomes(folder) > known)
    after_interrupt = parts(folder)
    left = read(folder).left
    finished = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS, env=ENVIRONMENT
    )
    return Story(folder, after_kill, interrupted, after_interrupt, left, finished, read(folder))


def read(folder: Path) -> record.Sweep:
    return msgspec.json.decode((folder / "sweep.json").read_bytes(), type=record.Sweep)


def test_nothing_that_was_finished_is_done_again(story: Story) -> None:
    final = parts(story.folder)
    assert story.after_kill.items() <= story.after_interrupt.items() <= final.items()
    assert len(story.after_kill) < len(final)


def test_an_interruption_leaves_a_page_and_says_how_to_go_on(story: Story) -> None:
    assert story.interrupted.returncode == 130, story.interrupted.stderr
    assert story.left_then > 0
    told = " ".join(story.interrupted.stderr.split())
    assert f"Interrupted: {story.left_then} combinations are left; run it again" in told


def test_a_finished_sweep_has_every_combination(story: Story) -> None:
    assert story.finished.returncode == 0, story.finished.stderr
    assert story.found.left == 0
    # Two criteria and the control, two amounts, two seeds.
    assert len(story.found.outcomes) == 12
    assert story.found.seeds == (5, 6)


def test_there_is_one_null_control_for_each_seed(story: Story) -> None:
    assert [(each.seed, each.epochs) for each in story.found.controls] == [(5, 1), (6, 1)]


def test_what_a_criterion_cannot_do_is_a_row_with_the_reason(story: Story) -> None:
    refused = [each for each in story.found.outcomes if each.measured is None]
    assert {each.combination.criterion for each in refused} == {"ablation"}
    assert "use it with level layer" in refused[0].refused
    assert "ablation" in story.finished.stdout


def test_every_measured_combination_has_its_figures(story: Story) -> None:
    measured = [each.measured for each in story.found.outcomes if each.measured is not None]
    assert len(measured) == 8
    macs = {each.network.macs for each in measured}
    # The same two structures whatever the criterion and the seed.
    assert len(macs) == 2
    assert max(macs) < story.found.dense.macs
    assert all(0.0 <= each.score <= 1.0 for each in measured)
    assert all(each.speed(rows).same.gain > 0 for each in measured for rows in (1, record.BATCH))
    assert all(each.graph.graph_bytes < story.found.dense_graph.graph_bytes for each in measured)


def test_scores_follow_from_the_rows_that_were_kept(story: Story) -> None:
    (edge,) = (
        each for each in story.found.edges if each.criterion == "magnitude" and each.amount is None
    )
    cells = {(cell.criterion, cell.amount): cell.score.value for cell in summary.cells(story.found)}
    above = [cells["magnitude", amount] - cells["random", amount] for amount in (0.5, 0.75)]
    assert edge.value == pytest.approx(sum(above) / 2)
    assert edge.seeds == 2


def test_the_table_is_there_for_people_and_for_programs(story: Story) -> None:
    text = (story.folder / "sweep.md").read_text(encoding="utf-8")
    assert "| magnitude | 75% | 2 |" in text
    assert json.loads((story.folder / "sweep.json").read_bytes())["schema"] == record.SCHEMA


@pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)
def test_the_browser_has_nothing_to_complain_about(story: Story, tmp_path: Path) -> None:
    page = story.folder / "sweep.html"
    done = browser.browse(page, tmp_path / "profile", "--window-size=400,2400", "--dump-dom")
    assert browser.complaints(done) == []
    # The front's widths are drawn too, if anything is faster than so small a network.
    assert done.stdout.count("<svg") == len(sweep_page.pictures(story.found)) >= 2
