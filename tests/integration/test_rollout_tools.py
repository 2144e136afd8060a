"""The controller with each rollout tool, killed before each of its writes: the end is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import clusters, rollouts
from tests.support.clusters import KINDS, Kind, Versions


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return clusters.versions(tmp_path_factory.mktemp("versions"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_promotion_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = clusters.after_every_kill(
        kind, versions, tmp_path, lambda stage: clusters.verdict(stage, "promote")
    )

    assert undisturbed.steps[-1][:3] == ("promoted", "watch", versions.second)
    assert others == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = clusters.after_every_kill(
        kind, versions, tmp_path, lambda stage: clusters.verdict(stage, "rollback")
    )

    assert undisturbed.steps[-1][:3] == ("rolled-back", "idle", versions.first)
    assert others == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_back_survives_a_kill_at_every_write(
    kind: Kind, versions: Versions, tmp_path: Path
) -> None:
    undisturbed, others = clusters.after_every_kill(
        kind,
        versions,
        tmp_path,
        lambda stage: clusters.verdict(stage, "promote"),
        lambda _: rollouts.decay(versions.second),
    )

    assert undisturbed.steps[-1][:3] == ("rolled-back", "idle", versions.first)
    assert others == []
