"""The demo's main flow.

Called by: `coppice demo`. Takes: a folder to play in. Gives: the exit code, 0 only if every phase
did what it should, and a report with pictures in the folder.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from rich import console

from coppice import errors, eventlog, records
from coppice.eventlog import base
from coppice_cli.demo import follow, phases, report, screen, stage

ARRIVAL_SECONDS = 60.0
"""Longest wait for the last events to come through a cluster."""


def main(folder: Path | None = None) -> int:
    """Play the whole story and say how it went.

    Raises
    ------
    ProjectError
        The folder holds something already, or cannot be made.
    """
    terminal = console.Console()
    shown = screen.Screen(terminal, start=time.time())
    where = Path(tempfile.mkdtemp(prefix="coppice-demo-")) if folder is None else _empty(folder)
    on = stage.build(where, shown)
    begun = time.monotonic()
    outcomes = _play(on)
    shown.summary(outcomes)
    page = report.write(where / "report.html", on, outcomes)
    holds = all(outcome.holds for outcome in outcomes) and len(outcomes) == len(phases.STORY) + 1
    verdict = "[green]every phase did what it should[/]" if holds else "[red]a phase failed[/]"
    terminal.print(f"\n{verdict} in {time.monotonic() - begun:.0f} s; report with pictures: {page}")
    terminal.print(f"look around: coppice status --project {where}", soft_wrap=True)
    return 0 if holds else 1


def _empty(folder: Path) -> Path:
    """Make a folder to play in: one that holds something may be a project of the user's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = next(folder.iterdir(), None)
    except OSError as cause:
        message = f"cannot play in {folder}: {cause}"
        raise errors.ProjectError(message) from cause
    if held is not None:
        message = f"{folder} is not empty ({held.name}); name a folder that is, or none at all"
        raise errors.ProjectError(message)
    return folder


def _play(on: stage.Stage) -> list[screen.Outcome]:
    opening, *rest = phases.STORY
    outcomes = [phases.play(opening, on)]
    if not outcomes[0].holds:
        return outcomes
    with stage.running(on):
        for phase in rest:
            outcome = phases.play(phase, on)
            outcomes.append(outcome)
            if not outcome.holds:
                break
        on.traffic.stop()
        outcomes.append(_nothing_lost(on))
    return outcomes


def _nothing_lost(on: stage.Stage) -> screen.Outcome:
    """Compare every answer that a client got with what the log holds."""
    begun = time.monotonic()
    with contextlib.closing(eventlog.open_log(on.settings)) as log:
        lost = _missing(on, log, until=begun + ARRIVAL_SECONDS)
    tally = on.traffic.tally()
    problems = ", ".join(f"{why}: {count}" for why, count in on.traffic.problems.items())
    return screen.Outcome(
        name="6 nothing lost",
        expected="every answered request is in the log, none failed",
        happened=f"{tally.answered:,} answered, {lost} lost, {tally.failed} failed",
        evidence=problems or "no client saw a problem",
        requests=tally.answered,
        labels=tally.natural_labels + tally.asked_labels,
        seconds=time.monotonic() - begun,
        holds=not lost and tally.failed == 0,
    )


def _missing(on: stage.Stage, log: base.EventLog, until: float) -> int:
    """Count the answers that are not in the log; through Kafka they take a while."""
    missing, position = set(on.traffic.acknowledged), base.START
    while missing and time.monotonic() < until:
        batch = log.read(position, 10_000)
        position = batch.position
        kind = records.NAMES[records.Prediction]
        missing -= {event.subject for event in batch.events if event.type == kind}
        if not batch.events:
            if on.settings.events.backend != "kafka":
                break
            on.pause(follow.POLL_SECONDS)
    return len(missing)
