from __future__ import annotations

import io

import pytest
from rich import console

from coppice import records
from coppice_cli.demo import follow, screen


@pytest.fixture
def paper() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def shown(paper: io.StringIO) -> screen.Screen:
    return screen.Screen(console.Console(file=paper, width=160), start=100.0)


def outcome(*, holds: bool) -> screen.Outcome:
    return screen.Outcome(
        name="2 serve",
        expected="answers",
        happened="answered",
        evidence="99% right",
        requests=1234,
        labels=56,
        seconds=7.4,
        holds=holds,
    )


def verdict(kind: records.VerdictKind, cause: records.Cause | None = None) -> records.Verdict:
    return records.Verdict(
        model="digits",
        version="digits:0123456789ab",
        scope="champion",
        kind=kind,
        cause=cause,
        reason="because",
    )


def test_a_verdict_is_told_with_its_cause_and_reason() -> None:
    assert screen.describe(verdict("decay", "world")) == ("decay", "012345 (world): because")


def test_an_undecided_verdict_is_not_worth_a_line() -> None:
    assert screen.describe(verdict("undecided")) == ("undecided", "")


def test_a_candidate_is_told_with_what_refused_it() -> None:
    candidate = records.Candidate(
        model="digits",
        version="digits:0123456789ab",
        parent="digits:cafe",
        status="forced",
        reason="manual",
        refusals=("accuracy",),
    )
    assert screen.describe(candidate) == ("forced", "candidate 012345, manual [accuracy]")


def test_a_rollout_step_is_told_with_its_lanes() -> None:
    step = records.Rollout(
        model="digits",
        stage="canary",
        champion="digits:aaaaaaaa",
        candidate="digits:bbbbbbbb",
        weight=0.1,
        outcome="advanced",
        reason="step 1",
    )
    assert screen.describe(step) == (
        "advanced",
        "[canary] champion aaaaaa, candidate bbbbbb at 10%: step 1",
    )


def test_traffic_is_not_told() -> None:
    feedback = records.Feedback(request_id="r", model="digits", labels=(1,), labelled_at=1.0)
    assert screen.describe(feedback) == ("", "")


def test_a_fact_is_shown_with_the_seconds_since_the_start(
    shown: screen.Screen, paper: io.StringIO
) -> None:
    shown.fact(follow.Fact(at=112.0, record=verdict("healthy")))
    # 112 - 100 = 12
    assert paper.getvalue().split() == ["12", "s", "healthy", "012345:", "because"]


def test_the_summary_says_of_every_phase_whether_it_holds(
    shown: screen.Screen, paper: io.StringIO
) -> None:
    shown.summary([outcome(holds=True), outcome(holds=False)])
    text = paper.getvalue()
    assert "yes" in text
    assert "NO" in text
    assert "1,234" in text


def test_the_story_of_a_phase_is_shown_under_its_name(
    shown: screen.Screen, paper: io.StringIO
) -> None:
    shown.title("3 the world shifts", "The lamp wears out.")
    shown.say("$ coppice up")
    assert "3 the world shifts" in paper.getvalue()
    assert "The lamp wears out." in paper.getvalue()
    assert "$ coppice up" in paper.getvalue()


def test_a_verdict_that_is_only_renewed_is_told_once(
    shown: screen.Screen, paper: io.StringIO
) -> None:
    shown.fact(follow.Fact(at=112.0, record=verdict("drift")))
    shown.fact(follow.Fact(at=172.0, record=verdict("drift")))
    assert paper.getvalue().count("drift") == 1
