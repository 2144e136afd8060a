"""The report of a run: one self-contained page, readable by somebody who did not watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from coppice import clock, records
from coppice_cli.demo import pictures, screen, stage

TEMPLATE = Path(__file__).parent / "report.html.j2"


def write(path: Path, on: stage.Stage, outcomes: Sequence[screen.Outcome]) -> Path:
    """Write the page and return where it lies."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    facts = on.follower.facts
    start = facts[0].at if facts else on.clock.now()
    candidates = [fact.record for fact in facts if isinstance(fact.record, records.Candidate)]
    told = [
        (f"{fact.at - start:.0f}", *screen.describe(fact.record))
        for fact in facts
        if screen.describe(fact.record)[1]
    ]
    text = page.render(
        outcomes=outcomes,
        holds=all(outcome.holds for outcome in outcomes),
        told=told,
        candidates=candidates,
        columns=list(dict.fromkeys(name for each in candidates for name in each.figures)),
        pictures=_pictures(on, start),
        written=clock.rfc3339(on.clock.now()),
        short=screen.short,
    )
    path.write_text(text, encoding="utf-8")
    return path


def _pictures(on: stage.Stage, start: float) -> dict[str, str]:
    answers, facts = on.traffic.timeline, on.follower.facts
    if not answers:
        return {}
    return {
        "Right answers, as the clients saw them": pictures.accuracy(answers, facts, start),
        "Which version answered": pictures.lanes(answers, start),
        "Evidence on which each candidate was decided (grey line: enough to act)": (
            pictures.evidence(facts)
        ),
        "The same digits in every world": pictures.scans(on.traffic.scans),
    }
