from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coppice.routing import RoutingTable
from deploy.backends import flagger
from deploy.backends.base import Tool
from deploy.backends.flagger import APPLIED, tool_of
from deploy.backends.kube import pods
from tests.support import clusters
from tests.support.clusters import Stage
from tests.support.rollouts import MODEL, A, B, C

ALONE = RoutingTable(generation=1, model=MODEL, champion=A)
TRIAL = RoutingTable(generation=2, model=MODEL, champion=A, candidate=B, mirror=1.0)
OLD, NEW = "old template", "new template"


def seen(target: str = NEW, primary: str = OLD, noted: str = "hash-a", **status: Any) -> Tool:
    """Return what is read out of a Canary whose target was changed after `hash-a` was applied."""
    canary = {**clusters.CANARY, "metadata": {"annotations": {APPLIED: noted}}, "status": status}
    return tool_of(canary, target, primary)


BEFORE = {"lastAppliedSpec": "hash-a"}
NOW = {"lastAppliedSpec": "hash-b"}


def test_the_success_of_the_time_before_is_no_promotion() -> None:
    assert seen(**BEFORE, phase="Succeeded") == Tool("progressing", 0.0)


def test_the_failure_of_the_time_before_is_no_abort() -> None:
    assert seen(**BEFORE, phase="Failed") == Tool("progressing", 0.0)


def test_a_success_counts_when_the_primary_serves_what_the_target_says() -> None:
    assert seen(primary=NEW, **NOW, phase="Succeeded") == Tool("promoted", 1.0)
    assert seen(**NOW, phase="Succeeded").phase == "progressing"


def test_a_primary_that_rolls_out_is_not_yet_a_promotion() -> None:
    assert seen(primary=NEW, **NOW, phase="Promoting", canaryWeight=40) == Tool("progressing", 0.4)
    assert seen(primary=NEW, **NOW, phase="Finalising") == Tool("progressing", 1.0)


def test_a_new_canary_serves_what_it_was_made_with() -> None:
    assert seen("", "", "", phase="Initialized", lastAppliedSpec="hash-a").phase == "promoted"


@pytest.mark.parametrize("phase", ["Progressing", "Waiting", "WaitingPromotion"])
def test_the_weight_is_what_flagger_gives_the_canary(phase: str) -> None:
    assert seen(**NOW, phase=phase, canaryWeight=25) == Tool("progressing", 0.25)


def test_a_failure_is_an_abort_with_flaggers_own_words() -> None:
    conditions = [{"type": "Promoted", "message": "Canary analysis failed"}]
    assert seen(**NOW, phase="Failed", conditions=conditions) == Tool(
        "aborted", 0.0, "Canary analysis failed"
    )
    assert seen(**NOW, phase="Failed").message == "no reason was given"


def test_the_pods_are_those_of_the_target_and_of_the_primary() -> None:
    names = [place.name for place in flagger.holders(clusters.CANARY)]
    assert names == [MODEL, f"{MODEL}-primary"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with clusters.running("flagger", clusters.Versions(tmp_path, A, B), tmp_path / "p") as made:
        made.backend.apply(ALONE)
        made.tool.reconcile(6)
        yield made


def noted(stage: Stage) -> str:
    return str(stage.tool.canary()["metadata"]["annotations"][APPLIED])


def applied(stage: Stage) -> str:
    return str(stage.tool.canary()["status"]["lastAppliedSpec"])


def test_what_was_applied_is_noted_before_the_template_changes(stage: Stage) -> None:
    before = applied(stage)
    stage.backend.apply(TRIAL)

    assert noted(stage) == before
    assert stage.backend.observe().tool == Tool("progressing", 0.0)
    stage.tool.reconcile()
    assert applied(stage) != before


def test_a_write_that_was_cut_short_keeps_the_note_of_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = applied(stage)
    # Note and template are written, the table is not; then Flagger begins.
    clusters.Fuse(blows_at=3).lay(stage, monkeypatch)
    with pytest.raises(clusters.Killed):
        stage.backend.apply(TRIAL)
    stage.tool.reconcile()
    assert applied(stage) != before

    stage.backend.apply(TRIAL)

    assert noted(stage) == before
    assert stage.backend.observe().table == TRIAL


def test_a_weight_that_moves_changes_no_template(stage: Stage) -> None:
    stage.backend.apply(TRIAL)
    template = stage.template()
    patched = stage.cluster.requests["patch deployments"]

    stage.backend.apply(
        RoutingTable(generation=3, model=MODEL, champion=A, candidate=B, weight=0.2, mirror=1.0)
    )

    assert stage.template() == template
    assert stage.cluster.requests["patch deployments"] == patched


def test_an_abort_puts_the_template_back_to_the_letter(stage: Stage) -> None:
    before = pods.encode(stage.template())
    stage.backend.apply(TRIAL)

    stage.backend.abort("it is worse")

    assert pods.encode(stage.template()) == before
    assert stage.backend.observe().table == RoutingTable(generation=3, model=MODEL, champion=A)


def test_an_abort_after_a_write_that_was_cut_short_does_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.backend.apply(TRIAL)
    stage.backend.apply(RoutingTable(generation=3, model=MODEL, champion=B, previous=A))
    before = pods.encode(stage.template())
    following = RoutingTable(generation=4, model=MODEL, champion=B, candidate=C, mirror=1.0)
    # The pod template names the candidate, and the table does not yet.
    clusters.Fuse(blows_at=3).lay(stage, monkeypatch)
    with pytest.raises(clusters.Killed):
        stage.backend.apply(following)
    stage.backend.apply(following)

    stage.backend.abort("it is worse")

    # Another text, even for the same version, would be a trial of its own to Flagger.
    assert pods.encode(stage.template()) == before


def test_there_is_nobody_to_be_steered(stage: Stage) -> None:
    revision = stage.cluster.store.revision
    stage.backend.steer("promote")
    assert stage.cluster.store.revision == revision
