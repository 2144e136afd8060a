from __future__ import annotations

import functools

from hypothesis import given
from hypothesis import strategies as st

from coppice import records
from retrain import history


def sealed(record: records.Record, *, now: float = 0.0) -> records.Event:
    return records.seal(record, source="test", now=now)


def fold(*events: records.Event) -> history.State:
    return functools.reduce(
        lambda state, event: history.fold(state, event, records.unseal(event)),
        events,
        history.State(),
    )


def verdict(
    kind: records.VerdictKind = "decay",
    cause: records.Cause | None = "world",
    version: str = "m:1",
) -> records.Verdict:
    return records.Verdict(
        model="m", version=version, scope="champion", kind=kind, cause=cause, reason="said so"
    )


def retraining(status: str, trigger: str | None = None, cause: str = "world") -> records.Retraining:
    return records.Retraining(
        model="m",
        status=status,
        cause=cause,
        reason="so",
        trigger=trigger,  # type: ignore[arg-type]
    )


def rollout(stage: str, champion: str, candidate: str | None = None) -> records.Rollout:
    return records.Rollout(
        model="m",
        stage=stage,  # type: ignore[arg-type]
        champion=champion,
        candidate=candidate,
        outcome="started",
        reason="so",
    )


def test_a_decay_is_pending_until_it_is_answered() -> None:
    decay = sealed(verdict())
    assert fold(decay).pending == (decay.id, verdict())
    assert fold(decay, sealed(retraining("started", decay.id))).pending is None


def test_the_newest_verdict_counts() -> None:
    second = sealed(verdict(cause="pruning"))
    assert fold(sealed(verdict()), second).pending == (second.id, verdict(cause="pruning"))


def test_a_healthy_champion_does_not_answer_for_the_one_that_was_rolled_back() -> None:
    decayed = sealed(verdict(cause="pruning", version="m:2"))
    state = fold(decayed, sealed(verdict("healthy", None, version="m:1")))
    assert state.pending is not None
    assert state.pending.event_id == decayed.id


def test_a_champion_that_is_healthy_again_needs_no_retraining() -> None:
    assert fold(sealed(verdict()), sealed(verdict("healthy", None))).pending is None


def test_drift_alone_neither_asks_nor_forgets() -> None:
    decay = sealed(verdict())
    assert fold(sealed(verdict("drift", None))).pending is None
    assert fold(decay, sealed(verdict("drift", None))).pending == (decay.id, verdict())


def test_what_was_held_before_it_started_stays_pending() -> None:
    decay = sealed(verdict())
    assert fold(decay, sealed(retraining("held", decay.id))).pending == (decay.id, verdict())


def test_a_training_that_was_asked_to_stop_is_pending_again() -> None:
    decay = sealed(verdict())
    started, held = (sealed(retraining(status, decay.id)) for status in ("started", "held"))
    state = fold(decay, started, held)
    assert state.started is None
    assert state.pending == (decay.id, verdict())


def test_what_failed_or_finished_waits_for_a_new_verdict() -> None:
    decay = sealed(verdict())
    started = sealed(retraining("started", decay.id))
    assert fold(decay, started, sealed(retraining("failed", decay.id))).pending is None
    assert fold(decay, started, sealed(retraining("finished", decay.id))).pending is None


def test_a_verdict_during_the_training_is_kept_for_afterwards() -> None:
    decay, later = sealed(verdict()), sealed(verdict())
    started, finished = (sealed(retraining(s, decay.id)) for s in ("started", "finished"))
    assert fold(decay, started, later, finished).pending == (later.id, verdict())


def test_a_start_without_an_end_shows() -> None:
    decay = sealed(verdict())
    assert fold(decay, sealed(retraining("started", decay.id))).started == retraining(
        "started", decay.id
    )


def test_starts_are_remembered_with_their_times_and_manual_ones_are_not_counted() -> None:
    state = fold(
        sealed(retraining("started"), now=5.0),
        sealed(retraining("finished"), now=6.0),
        sealed(retraining("started", cause="manual"), now=7.0),
        sealed(retraining("started"), now=8.0),
    )
    assert state.starts == (5.0, 8.0)


def test_an_accepted_candidate_is_under_way_until_its_rollout_settles() -> None:
    made = sealed(
        records.Candidate(model="m", version="m:2", parent="m:p", status="accepted", reason="world")
    )
    assert fold(made).rolling_out == "m:2"
    assert fold(made, sealed(rollout("shadow", "m:1", "m:2"))).rolling_out == "m:2"
    assert fold(made, sealed(rollout("canary", "m:1", "m:2"))).rolling_out == "m:2"
    assert fold(made, sealed(rollout("watch", "m:2"))).rolling_out is None
    assert fold(made, sealed(rollout("idle", "m:1", "m:2"))).rolling_out is None


def test_a_refused_candidate_is_never_under_way() -> None:
    made = records.Candidate(
        model="m", version="m:2", parent="m:p", status="refused", reason="world"
    )
    assert fold(sealed(made)).rolling_out is None


def test_attempts_at_a_milder_pruning_are_counted_for_each_champion() -> None:
    first = sealed(rollout("idle", "m:1"))
    tries = [sealed(retraining(status, cause="pruning")) for status in ("started", "failed")]
    assert fold(first, *tries, *tries).attempts == 2
    assert fold(first, *tries, sealed(rollout("shadow", "m:1", "m:2"))).attempts == 1
    assert fold(first, *tries, sealed(rollout("watch", "m:2"))).attempts == 0


def test_other_records_change_nothing() -> None:
    measurement = records.Measurement(model="m", version="m:1", name="accuracy", value=1.0)
    candidate = records.Verdict(
        model="m", version="m:2", scope="candidate", kind="promote", reason="gain"
    )
    assert fold(sealed(measurement), sealed(candidate)) == history.State()


FACTS = (
    verdict(),
    verdict("healthy", None),
    retraining("started"),
    retraining("finished"),
    retraining("held"),
    retraining("failed", cause="pruning"),
    rollout("idle", "m:1"),
    rollout("canary", "m:1", "m:2"),
    rollout("watch", "m:2"),
)


@given(st.lists(st.sampled_from(FACTS), max_size=12), st.integers(0, 12))
def test_a_restarted_process_stands_where_the_old_one_stood(
    facts: list[records.Record], cut: int
) -> None:
    events = [sealed(fact, now=float(at)) for at, fact in enumerate(facts)]
    old = fold(*events[:cut])
    went_on = functools.reduce(
        lambda state, event: history.fold(state, event, records.unseal(event)), events[cut:], old
    )
    assert went_on == fold(*events)


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_nothing_is_pending_and_being_answered_at_once(facts: list[records.Record]) -> None:
    state = fold(*(sealed(fact, now=float(at)) for at, fact in enumerate(facts)))
    assert state.answering is None or state.answering != state.pending
    assert list(state.starts) == sorted(state.starts)
