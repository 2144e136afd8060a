"""Versions in memory: what is loaded, what takes traffic, and what never does."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import registry as collectors

from coppice import artifact, errors, registry, routing
from coppice.testing import ManualClock
from service import batcher, lanes, recorder, versions
from tests.support import artifacts, downward, serving

Steps = Callable[[lanes.Switchboard], Coroutine[Any, Any, None]]


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path)


def run(made: serving.Project, steps: Steps, time: ManualClock | None = None) -> None:
    """Run steps against a switchboard whose thread is not started, then close it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        metrics = recorder.Recorder(collectors.CollectorRegistry())
        store = registry.open_registry(made.tree)
        load = versions.Loader(
            store, limits=batcher.Limits(8, 8), threads=1, loop=loop, metrics=metrics
        )
        board = lanes.Switchboard(
            made.tree,
            registry=store,
            load=load,
            loop=loop,
            metrics=metrics,
            time=time or ManualClock(),
        )
        try:
            async with asyncio.timeout(30.0):
                await steps(board)
        finally:
            close(board)

    asyncio.run(main())


def close(board: lanes.Switchboard) -> None:
    for version in set(board.lanes.loaded().values() if board.lanes else ()):
        version.close()
        version.batcher.join(10.0)


async def turn(board: lanes.Switchboard) -> None:
    await asyncio.to_thread(board.turn)


def parts(board: lanes.Switchboard) -> dict[str, str]:
    return {part: version.tag for part, version in board.in_force().loaded().items()}


def damage(made: serving.Project, tag: str) -> None:
    path = made.path(tag) / artifact.MODEL
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"!")


def test_the_versions_of_the_routing_table_are_loaded(made: serving.Project) -> None:
    made.route(candidate=made.candidate, parent=made.parent, mirror=1.0)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        assert parts(board) == {
            "champion": made.champion,
            "candidate": made.candidate,
            "parent": made.parent,
        }
        assert board.in_force().table.mirror == 1.0

    run(made, steps)


def test_before_the_first_champion_is_loaded_nothing_is_in_force(made: serving.Project) -> None:
    async def steps(board: lanes.Switchboard) -> None:
        await asyncio.sleep(0)
        with pytest.raises(errors.NotReady, match="still loading"):
            board.in_force()

    run(made, steps)


def test_an_unchanged_table_is_not_loaded_again(made: serving.Project) -> None:
    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        before = board.in_force()
        await turn(board)
        assert board.in_force() is before

    run(made, steps)


def test_a_promoted_candidate_is_not_loaded_again(made: serving.Project) -> None:
    made.route(candidate=made.candidate)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        candidate = board.in_force().candidate
        made.route(champion=made.candidate, previous=made.champion)
        await turn(board)
        assert board.in_force().champion is candidate
        assert parts(board)["previous"] == made.champion

    run(made, steps)


def test_a_version_that_is_no_longer_named_is_closed(made: serving.Project) -> None:
    made.route(candidate=made.candidate)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        candidate = board.in_force().candidate
        assert candidate is not None
        made.route()
        await turn(board)
        assert candidate.closed
        assert not board.in_force().champion.closed

    run(made, steps)


def test_a_table_older_than_the_one_in_force_is_passed_over(made: serving.Project) -> None:
    made.route(generation=7)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        made.route(generation=6, champion=made.candidate)
        await turn(board)
        assert parts(board) == {"champion": made.champion}

    run(made, steps)


def test_a_corrupt_candidate_leaves_its_place_empty_and_says_why(made: serving.Project) -> None:
    damage(made, made.candidate)
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        assert parts(board) == {"champion": made.champion}
        assert "was altered" in board.broken[made.candidate]
        assert board.in_force().table.candidate == made.candidate

    run(made, steps)


def test_a_corrupt_champion_leaves_the_old_lanes_in_force(made: serving.Project) -> None:
    damage(made, made.candidate)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        made.route(champion=made.candidate)
        with pytest.raises(errors.ArtifactError, match="cannot be loaded"):
            await turn(board)
        assert parts(board) == {"champion": made.champion}
        assert made.candidate in board.broken

    run(made, steps)


def test_what_was_broken_is_tried_again_after_a_while(made: serving.Project) -> None:
    path = made.path(made.candidate) / artifact.MODEL
    whole = path.read_bytes()
    damage(made, made.candidate)
    made.route(candidate=made.candidate)
    time = ManualClock()

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        path.write_bytes(whole)
        await turn(board)
        assert made.candidate in board.broken
        time.advance(lanes.RETRY_SECONDS)
        await turn(board)
        assert board.broken == {}
        assert parts(board)["candidate"] == made.candidate

    run(made, steps, time)


def test_an_unknown_champion_is_named_in_the_error(made: serving.Project) -> None:
    made.route(champion="tiny:000000000000")

    async def steps(board: lanes.Switchboard) -> None:
        with pytest.raises(errors.ArtifactError, match="tiny:000000000000"):
            await turn(board)
        with pytest.raises(errors.NotReady, match="tiny:000000000000"):
            board.in_force()

    run(made, steps)


def test_another_models_table_is_refused(made: serving.Project) -> None:
    routing.save(made.tree.routing_path, routing.RoutingTable(model="other", champion="other:1"))

    async def steps(board: lanes.Switchboard) -> None:
        with pytest.raises(errors.EnvironmentProblem, match="'other'"):
            await turn(board)

    run(made, steps)


def test_a_damaged_table_leaves_the_old_lanes_in_force(made: serving.Project) -> None:
    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        made.tree.routing_path.write_text("{")
        with pytest.raises(errors.EnvironmentProblem, match="not a routing table"):
            await turn(board)
        assert parts(board) == {"champion": made.champion}

    run(made, steps)


def test_without_a_table_the_champion_of_the_registry_serves(made: serving.Project) -> None:
    made.tree.routing_path.unlink()
    registry.open_registry(made.tree).point("tiny", {"champion": made.candidate})

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        assert parts(board) == {"champion": made.candidate}
        assert board.in_force().table.generation == 0

    run(made, steps)


def test_without_any_champion_the_answer_says_how_to_get_one(made: serving.Project) -> None:
    made.tree.routing_path.unlink()

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        with pytest.raises(errors.NotReady, match="coppice prune"):
            board.in_force()

    run(made, steps)


def test_the_watching_thread_takes_over_a_new_table_by_itself(made: serving.Project) -> None:
    async def steps(board: lanes.Switchboard) -> None:
        board.start()
        await serving.until(lambda: board.lanes is not None)
        made.route(champion=made.candidate)
        await serving.until(lambda: parts(board)["champion"] == made.candidate)
        board.close()

    run(made, steps)


def test_the_watching_thread_outlives_what_it_cannot_take_over(made: serving.Project) -> None:
    async def steps(board: lanes.Switchboard) -> None:
        whole = made.tree.routing_path.read_text()
        made.tree.routing_path.write_text("{")
        board.start()
        await asyncio.sleep(0.05)
        made.tree.routing_path.write_text(whole)
        await serving.until(lambda: board.lanes is not None)
        board.close()

    run(made, steps)


def test_a_version_has_a_lane_by_its_tag_and_by_its_id(made: serving.Project) -> None:
    made.route(candidate=made.candidate)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        found = board.in_force()
        assert found.lane_of(made.champion) == "stable"
        assert found.lane_of(made.candidate.partition(":")[2]) == "canary"
        assert found.lane_of(made.parent) is None

    run(made, steps)


def test_failures_in_a_row_shut_the_canary_lane_until_another_candidate(
    made: serving.Project,
) -> None:
    made.route(candidate=made.candidate, weight=0.5)

    async def steps(board: lanes.Switchboard) -> None:
        await turn(board)
        for _ in range(made.tree.serve.crash_guard):
            assert board.open()
            board.candidate_failed(made.candidate)
        assert not board.open()
        made.route(candidate=made.parent, weight=0.5)
        await turn(board)
        assert board.open()

    run(made, steps)


def test_an_answer_in_between_starts_the_count_anew() -> None:
    guard = lanes.CrashGuard(2)
    guard.failed("m:2")
    guard.succeeded("m:2")
    guard.failed("m:2")
    assert guard.open("m:2")


def test_a_late_answer_does_not_open_a_lane_that_is_shut() -> None:
    guard = lanes.CrashGuard(1)
    guard.failed("m:2")
    guard.succeeded("m:2")
    assert not guard.open("m:2")


def test_the_failures_of_one_candidate_are_not_held_against_the_next() -> None:
    guard = lanes.CrashGuard(2)
    guard.failed("m:2")
    guard.failed("m:3")
    assert guard.open("m:3")


class TestInAPod:
    """The routing table is the file of a downward API volume."""

    @pytest.fixture
    def made(self, tmp_path: Path) -> serving.Project:
        section = {"routing_file": "routing/routing.json"}
        made = serving.project(tmp_path, serve=section)
        shutil.rmtree(made.tree.routing_path.parent)
        return made

    def test_until_there_is_an_annotation_the_initial_version_answers(
        self, made: serving.Project
    ) -> None:
        volume = downward.Volume(made.tree.routing_path.parent)

        async def steps(board: lanes.Switchboard) -> None:
            await turn(board)
            assert parts(board) == {"champion": made.candidate}
            assert board.in_force().table.generation == 0
            volume.route(routing.RoutingTable(model="tiny", generation=1, champion=made.champion))
            await turn(board)
            assert parts(board) == {"champion": made.champion}

        run(begun_with(made, made.candidate), steps)

    def test_a_missing_volume_is_like_an_empty_one(self, made: serving.Project) -> None:
        async def steps(board: lanes.Switchboard) -> None:
            await turn(board)
            assert parts(board) == {"champion": made.candidate}

        run(begun_with(made, made.candidate), steps)

    @pytest.mark.parametrize("initial", ["tiny@champion", "tiny:champion"])
    def test_the_initial_version_may_be_an_alias(self, made: serving.Project, initial: str) -> None:
        registry.open_registry(made.tree).point("tiny", {"champion": made.parent})

        async def steps(board: lanes.Switchboard) -> None:
            await turn(board)
            assert parts(board) == {"champion": made.parent}

        run(begun_with(made, initial), steps)

    def test_an_initial_version_that_is_not_there_is_named_to_who_asks(
        self, made: serving.Project
    ) -> None:
        async def steps(board: lanes.Switchboard) -> None:
            with pytest.raises(errors.UnknownVersion):
                await turn(board)
            with pytest.raises(errors.NotReady, match="tiny:000000000000"):
                board.in_force()

        run(begun_with(made, "tiny:000000000000"), steps)

    def test_an_initial_version_of_another_model_is_refused(
        self, made: serving.Project, tmp_path: Path
    ) -> None:
        artifacts.linear_classifier(tmp_path / "other", name="other")
        other = registry.open_registry(made.tree).add(tmp_path / "other")

        async def steps(board: lanes.Switchboard) -> None:
            with pytest.raises(errors.EnvironmentProblem, match="'other'"):
                await turn(board)

        run(begun_with(made, other), steps)

    def test_an_annotation_that_goes_away_leaves_the_last_table_in_force(
        self, made: serving.Project
    ) -> None:
        volume = downward.Volume(made.tree.routing_path.parent)
        volume.route(routing.RoutingTable(model="tiny", generation=4, champion=made.champion))

        async def steps(board: lanes.Switchboard) -> None:
            await turn(board)
            volume.write("")
            await turn(board)
            assert parts(board) == {"champion": made.champion}
            assert board.in_force().table.generation == 4

        run(begun_with(made, made.candidate), steps)

    def test_a_broken_annotation_keeps_a_fresh_pod_from_being_ready_and_says_why(
        self, made: serving.Project
    ) -> None:
        downward.Volume(made.tree.routing_path.parent, '{"model": "tiny"')

        async def steps(board: lanes.Switchboard) -> None:
            with pytest.raises(errors.EnvironmentProblem):
                await turn(board)
            with pytest.raises(errors.NotReady, match="not a routing table"):
                board.in_force()

        run(begun_with(made, made.candidate), steps)


def begun_with(made: serving.Project, initial: str) -> serving.Project:
    section = made.tree.serve.model_copy(update={"initial": initial})
    return dataclasses.replace(made, tree=made.tree.model_copy(update={"serve": section}))
