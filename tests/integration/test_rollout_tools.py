"""The controller with each rollout tool, killed before each of its writes: the end is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import clusters, kills, kubelet, rollouts
from tests.support.clusters import KINDS, Kind, Versions
from tests.support.rollouts import MODEL


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return clusters.versions(tmp_path_factory.mktemp("versions"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_promotion_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = kills.after_every_kill(
        kind, versions, tmp_path, lambda stage: clusters.verdict(stage, "promote")
    )

    assert undisturbed.steps[-1][:3] == ("promoted", "watch", versions.second)
    assert others == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = kills.after_every_kill(
        kind, versions, tmp_path, lambda stage: clusters.verdict(stage, "rollback")
    )

    assert undisturbed.steps[-1][:3] == ("rolled-back", "idle", versions.first)
    assert others == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_back_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = kills.after_every_kill(
        kind,
        versions,
        tmp_path,
        lambda stage: clusters.verdict(stage, "promote"),
        lambda _: rollouts.decay(versions.second),
    )

    assert undisturbed.steps[-1][:3] == ("rolled-back", "idle", versions.first)
    assert others == []


@pytest.mark.parametrize("write", range(1, 8))
def test_a_verdict_that_turns_in_the_middle_of_a_gateways_promotion_is_obeyed(
    versions: Versions, tmp_path: Path, write: int
) -> None:
    with clusters.running("gateway", versions, tmp_path, validated=False) as stage:
        clusters.trial(stage).live_through(clusters.verdict(stage, "undecided"))
        with pytest.MonkeyPatch.context() as patch:
            clusters.Fuse(blows_at=write).lay(stage, patch)
            stage.tell(clusters.verdict(stage, "promote"))
            kills.until_killed(stage)

        stage.live_through(clusters.verdict(stage, "rollback"))

        assert (stage.state().stage, stage.state().champion) == ("idle", versions.first)
        assert stage.answers() == {versions.first}
        assert kills.Outcome.of(stage).weights == [1000, 0]
        assert kubelet.unsafe_moments(stage.cluster, MODEL, stage.served_since) == []
