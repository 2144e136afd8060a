from __future__ import annotations

import msgspec
import pytest

from coppice import records
from coppice.testing import MemoryLog
from coppice_cli import narrator

NOON = 12 * 3600.0
VERDICT = records.Verdict(
    model="tiny", version="tiny:a", scope="champion", kind="healthy", reason="97% of 400 labels"
)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def _append(log: MemoryLog, *found: records.Record) -> None:
    log.append([records.seal(record, source="test", now=NOON) for record in found])


def test_what_was_before_is_not_told(log: MemoryLog) -> None:
    _append(log, VERDICT)
    assert narrator.Narrator(log, "tiny").news() == []


def test_every_decision_is_told_once(log: MemoryLog) -> None:
    teller = narrator.Narrator(log, "tiny")
    _append(log, VERDICT)
    assert teller.news() == ["12:00:00 champion tiny:a healthy: 97% of 400 labels"]
    assert teller.news() == []


def test_a_verdict_that_is_repeated_while_it_holds_is_told_once(log: MemoryLog) -> None:
    teller = narrator.Narrator(log, "tiny")
    decay = msgspec.structs.replace(VERDICT, kind="decay", cause="world", reason="worse")
    _append(log, VERDICT, VERDICT, decay, decay, VERDICT)
    assert [text.split(" ", 3)[3] for text in teller.news()] == [
        "healthy: 97% of 400 labels",
        "decay, cause world: worse",
        "healthy: 97% of 400 labels",
    ]


def test_rollouts_candidates_and_retrainings_are_told(log: MemoryLog) -> None:
    teller = narrator.Narrator(log, "tiny")
    _append(
        log,
        records.Retraining(model="tiny", status="started", cause="world", reason="it shifted"),
        records.Candidate(
            model="tiny",
            version="tiny:b",
            parent="tiny:p",
            status="refused",
            reason="world",
            refusals=("gate 'score': a drop",),
        ),
        records.Rollout(
            model="tiny",
            stage="shadow",
            champion="tiny:a",
            candidate="tiny:b",
            outcome="started",
            reason="made because of: world",
        ),
    )
    assert teller.news() == [
        "12:00:00 retraining started: it shifted",
        "12:00:00 candidate tiny:b refused: gate 'score': a drop",
        "12:00:00 started: tiny:b is compared in shadow with tiny:a (made because of: world)",
    ]


def test_traffic_and_other_models_are_not_told(log: MemoryLog) -> None:
    teller = narrator.Narrator(log, "tiny")
    command = records.Command(model="tiny", action="pause", actor="ada")
    _append(log, command, msgspec.structs.replace(VERDICT, model="other"))
    assert teller.news() == []


def test_an_event_that_does_not_decode_is_told_as_such(log: MemoryLog) -> None:
    teller = narrator.Narrator(log, "tiny")
    log.append([records.Event("1", "coppice.verdict.v1", "test", NOON, "tiny", "tiny", b"\xc1")])
    (text,) = teller.news()
    assert "does not decode" in text
