"""From an admitted request to a committed answer, with real versions in memory."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import errors, records
from service import admission, batcher, compose, engine, outbox
from tests.support import artifacts, serving

UP = [1.0] * 4
"""A row that every version answers with "yes"."""

Steps = Callable[[compose.Plane], Coroutine[Any, Any, None]]


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(
        tmp_path, serve={"allow_forced_lane": True, "crash_guard": 3, "deadline_seconds": 20.0}
    )


def run(made: serving.Project, steps: Steps) -> None:
    """Run steps against an open data plane, then drain it."""

    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await steps(opened)

    asyncio.run(main())


def query(*rows: list[float], **fields: Any) -> admission.Query:
    inputs = {"x": np.array(rows or [UP], dtype=np.float32)}
    whole = {"request_id": "r1", "key": "ann", "slices": {}, "inputs": inputs, **fields}
    return admission.Query(**whole)


def stored(made: serving.Project, kind: type[records.Record]) -> list[Any]:
    log = made.log
    try:
        return serving.stored(log, kind)
    finally:
        log.close()


def test_an_answer_is_in_the_log_before_it_is_given(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        served = await opened.engine.infer(query(UP, [-1.0] * 4, slices={"pen": "ink"}))
        assert served.label is not None
        assert (served.lane, served.label.tolist()) == ("stable", [1, 0])
        (record,) = serving.stored(opened.log, records.Prediction)
        assert (record.request_id, record.version) == ("r1", made.champion)
        assert (record.lane, record.propensity, record.generation) == ("stable", 1.0, 1)
        assert record.slices == {"pen": "ink"}
        assert record.inputs["x"].array().tolist() == [UP, [-1.0] * 4]
        np.testing.assert_array_equal(record.outputs["scores"].array(), served.scores)
        # Two probabilities and four columns of inputs.
        assert record.features.shape == (2, 6)
        assert record.key_hash != "ann"
        assert 0.0 < record.latency_seconds < serving.SECONDS

    run(made, steps)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"y": np.zeros((1, 4), np.float32)}, "the model takes"),
        ({"x": np.zeros((1, 4), np.float64)}, "expected float32"),
        ({"x": np.zeros((1, 5), np.float32)}, "expected"),
        ({"x": np.zeros((0, 4), np.float32)}, "at least 1"),
        ({"x": np.full((1, 4), np.nan, np.float32)}, "NaN"),
        ({"x": np.full((1, 4), np.inf, np.float32)}, "infinite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_not_stored(
    made: serving.Project, inputs: Any, message: str
) -> None:
    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.RequestError, match=message):
            await opened.engine.infer(query()._replace(inputs=inputs))

    run(made, steps)
    assert stored(made, records.Prediction) == []


def test_the_canary_lane_answers_its_share(made: serving.Project) -> None:
    made.route(candidate=made.candidate, weight=1.0)

    async def steps(opened: compose.Plane) -> None:
        served = await opened.engine.infer(query())
        assert (served.lane, served.version.tag) == ("canary", made.candidate)

    run(made, steps)
    (record,) = stored(made, records.Prediction)
    assert (record.lane, record.version, record.propensity) == ("canary", made.candidate, 1.0)


def test_a_key_stays_on_its_lane(made: serving.Project) -> None:
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(opened: compose.Plane) -> None:
        first = [await opened.engine.infer(query(key=f"k{n}")) for n in range(20)]
        again = [await opened.engine.infer(query(key=f"k{n}")) for n in range(20)]
        assert [served.lane for served in first] == [served.lane for served in again]
        # All on one lane has a chance of 2 in 2^20.
        assert {served.lane for served in first} == {"stable", "canary"}

    run(made, steps)


@pytest.mark.parametrize("lane", ["stable", "canary"])
def test_a_forced_lane_answers_with_propensity_one(made: serving.Project, lane: str) -> None:
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(opened: compose.Plane) -> None:
        assert (await opened.engine.infer(query(lane=lane))).lane == lane

    run(made, steps)
    assert stored(made, records.Prediction)[0].propensity == 1.0


def test_a_version_may_be_asked_for_by_its_id(made: serving.Project) -> None:
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(opened: compose.Plane) -> None:
        for tag in (made.champion, made.candidate):
            served = await opened.engine.infer(query(version=tag.partition(":")[2]))
            assert served.version.tag == tag

    run(made, steps)


def test_an_unknown_version_is_refused_with_those_that_serve(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.UnknownVersion, match=made.champion):
            await opened.engine.infer(query(version="other"))

    run(made, steps)


def test_a_candidate_that_fails_is_answered_for_by_stable(made: serving.Project) -> None:
    # Its own warm-up and parity check send zeros and ones; the limit of 1.5 lets them pass.
    failing = made.add(artifacts.failing_classifier, above=1.5)
    made.route(candidate=failing, weight=1.0, mirror=1.0)

    async def steps(opened: compose.Plane) -> None:
        served = await opened.engine.infer(query([2.0] * 4))
        assert (served.lane, served.version.tag) == ("stable", made.champion)

    run(made, steps)
    (record,) = stored(made, records.Prediction)
    assert (record.lane, record.version) == ("stable", made.champion)
    assert record.fallback_version == failing
    assert "failed" in record.fallback
    # Who failed as a canary is not asked again as a shadow.
    assert stored(made, records.Shadow) == []


def test_failures_in_a_row_shut_the_canary_lane(made: serving.Project) -> None:
    failing = made.add(artifacts.failing_classifier, above=1.5)
    made.route(candidate=failing, weight=1.0)

    async def steps(opened: compose.Plane) -> None:
        for number in range(5):
            await opened.engine.infer(query([2.0] * 4, request_id=f"r{number}"))

    run(made, steps)
    found = stored(made, records.Prediction)
    # The guard is set to 3.
    assert [record.fallback_version for record in found] == [failing] * 3 + [None] * 2


def test_a_request_that_nobody_can_answer_is_no_fault_of_the_candidate(
    made: serving.Project,
) -> None:
    champion = made.add(artifacts.failing_classifier, above=1.5)
    candidate = made.add(artifacts.failing_classifier, above=1.75)
    made.route(champion=champion, candidate=candidate, weight=1.0)

    async def steps(opened: compose.Plane) -> None:
        for _ in range(5):
            with pytest.raises(errors.ArtifactError):
                await opened.engine.infer(query([2.0] * 4))
        assert (await opened.engine.infer(query())).lane == "canary"

    run(made, steps)


def test_a_failure_of_the_champion_is_in_the_log(made: serving.Project) -> None:
    champion = made.add(artifacts.failing_classifier, above=1.5)
    made.route(champion=champion)

    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.ArtifactError):
            await opened.engine.infer(query([2.0] * 4))

    run(made, steps)
    (record,) = stored(made, records.Prediction)
    assert record.version == champion
    assert "failed" in record.error
    assert record.outputs == {}


def test_a_candidate_that_is_too_slow_is_answered_for_by_stable(tmp_path: Path) -> None:
    made = serving.project(tmp_path, serve={"candidate_timeout_seconds": 0.01})
    slow = made.add(artifacts.slow_classifier, steps=40)
    made.route(candidate=slow, weight=1.0)

    async def steps(opened: compose.Plane) -> None:
        served = await opened.engine.infer(query())
        assert (served.lane, served.version.tag) == ("stable", made.champion)

    run(made, steps)
    assert "no answer within 0.01 s" in stored(made, records.Prediction)[0].fallback


def test_a_champion_that_is_too_slow_is_not_ready(tmp_path: Path) -> None:
    made = serving.project(tmp_path, serve={"deadline_seconds": 0.01})
    made.route(champion=made.add(artifacts.slow_classifier, steps=40))

    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.NotReady, match="deadline_seconds"):
            await opened.engine.infer(query())

    run(made, steps)


def test_a_candidate_that_is_not_in_memory_is_answered_for_by_stable(
    made: serving.Project,
) -> None:
    made.route(candidate="tiny:000000000000", weight=1.0)

    async def steps(opened: compose.Plane) -> None:
        assert (await opened.engine.infer(query())).version.tag == made.champion

    run(made, steps)
    (record,) = stored(made, records.Prediction)
    assert record.fallback_version == "tiny:000000000000"
    assert record.fallback == "the candidate is not in memory"


def shadows_of(made: serving.Project, count: int) -> list[records.Shadow]:
    """Serve one request and wait for its shadows."""

    async def steps(opened: compose.Plane) -> None:
        await opened.engine.infer(query())
        log = opened.log
        await serving.until(lambda: len(serving.stored(log, records.Shadow)) == count)

    run(made, steps)
    return stored(made, records.Shadow)


def test_a_mirrored_request_is_answered_by_the_candidate_and_the_parent(
    made: serving.Project,
) -> None:
    made.route(candidate=made.candidate, mirror=1.0, parent=made.parent, parent_mirror=1.0)
    found = {shadow.role: shadow for shadow in shadows_of(made, 2)}
    assert {role: shadow.version for role, shadow in found.items()} == {
        "candidate": made.candidate,
        "parent": made.parent,
    }
    assert {shadow.against for shadow in found.values()} == {made.champion}
    assert all(shadow.agrees == (True,) for shadow in found.values())


def test_what_the_canary_lane_answered_is_mirrored_to_the_champion(made: serving.Project) -> None:
    made.route(candidate=made.candidate, weight=1.0, mirror=1.0)
    (found,) = shadows_of(made, 1)
    assert (found.role, found.version, found.against) == (
        "champion",
        made.champion,
        made.candidate,
    )


def test_a_candidate_that_is_not_in_memory_fails_its_shadows(made: serving.Project) -> None:
    made.route(candidate="tiny:000000000000", mirror=1.0)
    (found,) = shadows_of(made, 1)
    assert (found.version, found.error) == (
        "tiny:000000000000",
        "tiny:000000000000 could not be loaded",
    )


def test_many_requests_at_once_get_their_own_answers(made: serving.Project) -> None:
    signs = [1.0 if number % 3 else -1.0 for number in range(200)]

    async def steps(opened: compose.Plane) -> None:
        waiting = [
            opened.engine.infer(query([sign] * 4, request_id=f"r{place}"))
            for place, sign in enumerate(signs)
        ]
        served = await asyncio.gather(*waiting)
        assert [int(found.scores.argmax()) for found in served] == [int(s > 0) for s in signs]

    run(made, steps)
    assert len(stored(made, records.Prediction)) == 200


def test_a_log_that_cannot_be_written_gives_no_answer(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        opened.log.close()
        with pytest.raises(errors.EventLogError):
            await opened.engine.infer(query())

    run(made, steps)


def test_a_request_whose_client_no_longer_waits_is_not_run(made: serving.Project) -> None:
    made.route(champion=made.add(artifacts.slow_classifier, steps=100))

    async def steps(opened: compose.Plane) -> None:
        # 0.2 s at least for the first: 100 products of 512 x 512 matrices are 3 x 10 ** 10
        # operations, so that the second one is there long before.
        first = asyncio.create_task(opened.engine.infer(query(request_id="first")))
        await serving.until(lambda: opened.engine._in_flight == 1)
        await asyncio.sleep(0.01)
        with pytest.raises(engine.TimeoutPassed, match="the client allows") as refused:
            await opened.engine.infer(query(request_id="late", timeout=0.001))
        assert refused.value.http_status == 504
        await first

    run(made, steps)
    # Neither an answer nor a failure of the champion: nothing was asked of it.
    assert [record.request_id for record in stored(made, records.Prediction)] == ["first"]


def test_an_answer_within_the_time_that_the_client_allows_is_given(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        assert (await opened.engine.infer(query(timeout=20.0))).lane == "stable"

    run(made, steps)


def test_a_version_that_is_no_longer_named_leaves_memory(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        await opened.engine.infer(query())
        old = opened.switchboard.in_force().champion
        runtime, session = weakref.ref(old.runtime), weakref.ref(old.runtime._session._session)
        made.route(champion=made.candidate)
        await serving.until(lambda: opened.switchboard.in_force().champion.tag == made.candidate)
        await asyncio.to_thread(old.batcher.join, 10.0)
        del old
        gc.collect()
        assert (runtime(), session()) == (None, None)

    run(made, steps)


def test_a_burst_beyond_the_queue_is_refused_at_once_and_what_was_taken_is_answered(
    tmp_path: Path,
) -> None:
    made = serving.project(tmp_path, serve={"max_queue": 4, "max_batch_rows": 1})
    made.route(champion=made.add(artifacts.slow_classifier, steps=10))

    async def steps(opened: compose.Plane) -> None:
        body = serving.infer_body()
        asked = [serving.ask(opened, serving.INFER, body) for _ in range(40)]
        replies = await asyncio.gather(*asked)
        statuses = [reply.status for reply in replies]
        assert set(statuses) == {200, 429}
        # The queue holds 4; one or a few more were taken out of it while the burst came in.
        assert statuses.count(200) >= 4
        refused = [reply for reply in replies if reply.status == 429]
        assert {reply.headers["retry-after"] for reply in refused} == {"1"}

    run(made, steps)


def test_a_canary_that_is_flooded_does_not_hold_up_the_stable_lane(tmp_path: Path) -> None:
    made = serving.project(
        tmp_path,
        serve={"allow_forced_lane": True, "crash_guard": 1000, "candidate_timeout_seconds": 30.0},
    )
    made.route(candidate=made.add(artifacts.slow_classifier, steps=40), weight=0.01)

    async def steps(opened: compose.Plane) -> None:
        flood = [
            asyncio.create_task(opened.engine.infer(query(request_id=f"c{n}", lane="canary")))
            for n in range(200)
        ]
        await asyncio.sleep(0)
        await opened.engine.infer(query(request_id="s", lane="stable"))
        # Each lane has a queue and a thread of its own: stable did not wait for the flood's end.
        assert not all(task.done() for task in flood)
        await asyncio.gather(*flood)

    run(made, steps)


def test_answers_of_both_lanes_share_a_commit(
    made: serving.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is, model and log are taken for quick.
    monkeypatch.setattr(batcher, "QUICK_SECONDS", 1e9)
    monkeypatch.setattr(outbox, "SLOW_SECONDS", 1e9)
    monkeypatch.setattr(outbox, "ROOM_SECONDS", 1e9)
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(opened: compose.Plane) -> None:
        # The outbox's thread has the first turn, and may still be at its end.
        await opened.engine.infer(query())
        await serving.until(lambda: not opened.engine._outbox._busy)
        groups: list[int] = []
        store = opened.log.append_at_once

        def noted(events: Sequence[records.Event]) -> bool:
            groups.append(len(events))
            return store(events)

        monkeypatch.setattr(opened.log, "append_at_once", noted)
        served = await asyncio.gather(
            *(opened.engine.infer(query(request_id=f"r{n}", key=f"k{n}")) for n in range(20))
        )
        assert {one.lane for one in served} == {"stable", "canary"}
        assert groups == [20]

    run(made, steps)
