from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

from coppice import records, testing
from coppice_cli.demo import follow, report, screen, stage, traffic

CANDIDATE = records.Candidate(
    model="digits",
    version="digits:0123456789ab",
    parent="digits:cafe",
    status="forced",
    reason="manual",
    refusals=("gate 'score': too low", "gate 'slice': <b>too low</b>"),
    figures={"candidate_score": 0.5},
)
OUTCOME = screen.Outcome(
    name="1 prune",
    expected="passes",
    happened="forced <script>",
    evidence="figures",
    requests=1000,
    labels=5,
    seconds=3.2,
    holds=False,
)


@pytest.fixture
def on() -> stage.Stage:
    answers = [
        traffic.Answered(at=100.0 + n, version="digits:a", lane="stable", right=True, medium="film")
        for n in range(5)
    ]
    scans = np.zeros((10, 1, 8, 8), dtype=np.float32)
    return types.SimpleNamespace(  # type: ignore[return-value]
        follower=types.SimpleNamespace(facts=[follow.Fact(at=100.0, record=CANDIDATE)]),
        traffic=types.SimpleNamespace(timeline=answers, scans=scans),
        clock=testing.ManualClock(now=0.0),
    )


@pytest.fixture
def page(on: stage.Stage, tmp_path: Path) -> str:
    return report.write(tmp_path / "report.html", on, [OUTCOME]).read_text(encoding="utf-8")


def test_the_page_says_whether_every_phase_held(page: str) -> None:
    assert "A phase did not do what it should." in page


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert "<script" not in page
    assert "src=" not in page
    assert page.count("<svg") == 4


def test_what_users_and_versions_say_cannot_become_markup(page: str) -> None:
    assert "forced &lt;script&gt;" in page


def test_a_candidate_is_shown_with_its_first_refusal_and_the_number_of_others(page: str) -> None:
    assert "gate &#39;score&#39;: too low; and 1 more" in page
    assert "0.5" in page


def test_a_run_that_ended_before_any_answer_has_no_pictures(
    on: stage.Stage, tmp_path: Path
) -> None:
    on.traffic.timeline.clear()
    text = report.write(tmp_path / "report.html", on, [OUTCOME]).read_text(encoding="utf-8")
    assert "<svg" not in text
