"""What every member of a group shows: what was announced."""

from __future__ import annotations

import msgspec
import pytest

from coppice import errors, records, routing, testing
from coppice.settings import Settings
from monitoring import desk, http, status
from monitoring import state as states
from monitoring.recorder import Recorder

OLD, NEW = "tiny:old", "tiny:new"


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, project={"name": "tiny", "task": "binary"})


@pytest.fixture
def log():
    return testing.MemoryLog()


@pytest.fixture
def clock():
    return testing.ManualClock()


@pytest.fixture
def some(log, settings, clock):
    return desk.Desk(log, settings, clock, Recorder("tiny"))


def write(log, record, now):
    log.append([records.seal(record, source="test", now=now)])


def step(log, now, **fields):
    plain = {"stage": "idle", "champion": OLD, "outcome": "promoted", "reason": ""}
    write(log, records.Rollout(model="tiny", **{**plain, **fields}), now)


def said(log, now, kind, version=NEW, scope="candidate", model="tiny"):
    verdict = records.Verdict(
        model=model, version=version, scope=scope, kind=kind, reason=f"{kind} at {now:g}"
    )
    write(log, verdict, now)
    return verdict


STARTED = {"stage": "shadow", "candidate": NEW, "outcome": "started"}


def seen(some, clock):
    clock.advance(desk.LOOK_SECONDS)
    some.look()
    return some.status()


def test_before_anything_was_said_nobody_plays_a_part(some, clock):
    found = seen(some, clock)
    assert (found.champion, found.candidate, found.candidate_verdict) == (None, None, None)


def test_the_last_verdicts_on_champion_and_candidate_are_shown(some, log, clock):
    step(log, 1.0, **STARTED)
    said(log, 2.0, "undecided")
    promote = said(log, 3.0, "promote")
    healthy = said(log, 4.0, "healthy", OLD, "champion")
    found = seen(some, clock)
    assert (found.champion, found.candidate) == (OLD, NEW)
    assert (found.champion_verdict, found.candidate_verdict) == (healthy, promote)


def test_verdicts_that_arrive_out_of_order_are_told_by_their_time(some, log, clock):
    step(log, 1.0, **STARTED)
    rollback = said(log, 3.0, "rollback")
    said(log, 2.0, "undecided")
    assert seen(some, clock).candidate_verdict == rollback


def test_a_candidate_that_is_tried_again_has_not_been_judged_yet(some, log, clock):
    step(log, 1.0, **STARTED)
    said(log, 2.0, "rollback")
    step(log, 3.0, **STARTED)
    assert seen(some, clock).candidate_verdict is None


def test_the_next_step_of_a_trial_keeps_its_verdict(some, log, clock):
    step(log, 1.0, **STARTED)
    promote = said(log, 2.0, "promote")
    step(log, 3.0, stage="canary", candidate=NEW, outcome="advanced")
    assert seen(some, clock).candidate_verdict == promote


def test_what_was_said_of_a_version_in_an_earlier_reign_is_not_shown(some, log, clock):
    step(log, 1.0)
    said(log, 2.0, "decay", OLD, "champion")
    step(log, 3.0, champion=NEW)
    step(log, 4.0, champion=OLD)
    assert seen(some, clock).champion_verdict is None


def test_what_is_about_another_model_or_cannot_be_read_says_nothing(some, log, clock):
    step(log, 1.0, **STARTED)
    said(log, 2.0, "rollback", model="other")
    promote = records.seal(
        records.Verdict(model="tiny", version=NEW, scope="candidate", kind="promote", reason=""),
        source="test",
        now=3.0,
    )
    log.append([msgspec.structs.replace(promote, data=b"{")])
    assert seen(some, clock).candidate_verdict is None


def test_without_a_step_in_the_log_the_routing_table_tells_who_serves(some, log, clock, settings):
    table = routing.RoutingTable(model="tiny", champion=OLD, candidate=NEW, generation=1)
    routing.save(settings.routing_path, table)
    promote = said(log, 2.0, "promote")
    found = seen(some, clock)
    assert (found.champion, found.candidate, found.candidate_verdict) == (OLD, NEW, promote)


def test_the_one_that_judges_shows_what_it_found_with_the_verdict_that_was_announced(
    some, log, clock, settings
):
    promote = said(log, 2.0, "promote")
    known = states.State.empty(settings)
    known.route = states.Route(OLD, NEW)
    known.events["coppice.prediction.v1"] = 7
    judged = status.of(known, status.Judged(), [], model="tiny", now=5.0)
    some.look(judged)
    assert some.status().events == {"coppice.prediction.v1": 7}
    assert (some.status().candidate, some.status().candidate_verdict) == (NEW, promote)


def test_the_page_answers_in_the_words_of_the_announcement(some, log, clock):
    step(log, 1.0, **STARTED)
    said(log, 2.0, "rollback")
    answer = http.candidate_verdict(seen(some, clock), "tiny", "tiny")
    assert (answer.verdict, answer.reason, answer.version) == ("rollback", "rollback at 2", NEW)


def test_it_looks_once_a_second_however_often_it_is_asked(some, log):
    some.look()
    step(log, 1.0)
    some.look()
    assert some.status().champion is None


def test_a_log_that_cannot_be_read_leaves_what_was_seen_before(some, log, clock):
    step(log, 1.0)
    before = seen(some, clock)
    log.close()
    assert seen(some, clock) is before
    assert f'error="{errors.EventLogError.__name__}"'.encode() in some.metrics()


def test_a_report_that_is_not_there_is_none(some):
    assert some.report("drift-tiny.html") is None
