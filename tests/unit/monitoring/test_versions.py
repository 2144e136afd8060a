from __future__ import annotations

import numpy as np
import pytest

from coppice import artifact, errors, testing
from coppice.settings import Settings
from monitoring import versions
from tests.support import artifacts

CLASSES = 2
FEATURES = CLASSES + 4


@pytest.fixture
def registry(tmp_path):
    return testing.MemoryRegistry(tmp_path / "registry")


@pytest.fixture
def known(registry, tmp_path):
    tree = Settings(
        root=tmp_path,
        project={"name": "tiny", "task": "binary"},
        drift={"window": 100, "calibration_windows": 50},
    )
    return versions.Versions(registry, tree)


@pytest.fixture
def version(registry, tmp_path):
    artifacts.linear_classifier(tmp_path / "artifact", accepted=0.91)
    return registry.add(tmp_path / "artifact")


def reference(registry, version):
    tensors = artifact.load_tensors(registry.path(version), artifact.REFERENCE)
    return tensors["features"]


def test_a_manifest_is_read_once(known, registry, version):
    assert known.manifest(version).accepted == 0.91
    (registry.path(version) / "manifest.json").unlink()
    assert known.manifest(version).accepted == 0.91


def test_a_version_that_was_not_there_is_looked_for_again(known, registry, tmp_path):
    tag = artifacts.linear_classifier(tmp_path / "late")
    with pytest.raises(errors.UnknownVersion):
        known.manifest(tag)
    registry.add(tmp_path / "late")
    assert known.manifest(tag).name == "tiny"


def test_a_runtime_is_loaded_once(known, version):
    assert known.runtime(version) is known.runtime(version)


def test_no_more_runtimes_are_kept_than_play_a_part(known, registry, tmp_path):
    tags = []
    for number in range(versions.LOADED + 1):
        folder = tmp_path / f"artifact-{number}"
        artifacts.linear_classifier(folder, bias=np.array([0.0, number]))
        tags.append(registry.add(folder))
    first = known.runtime(tags[0])
    last = [known.runtime(tag) for tag in tags[1:]]
    assert known.runtime(tags[-1]) is last[-1]
    assert known.runtime(tags[0]) is not first


def test_a_window_like_the_reference_does_not_alarm(known, registry, version):
    look = known.look(version, reference(registry, version)[:100])
    assert look.alarmed is False


def test_a_window_unlike_the_reference_alarms_and_names_the_feature(known, registry, version):
    window = reference(registry, version)[:100].copy()
    window[:, FEATURES - 1] += 5.0
    look = known.look(version, window)
    assert look.alarmed
    assert look.worst == ("input.x[3]",)


def test_features_of_another_width_are_not_compared(known, version):
    assert known.look(version, np.zeros((100, 3), dtype=np.float32)) is None


def test_a_version_without_a_reference_is_not_watched_for_drift(known, registry, tmp_path):
    folder = tmp_path / "bare"
    artifacts.linear_classifier(folder)
    (folder / artifact.REFERENCE).unlink()
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    version = registry.add(folder)
    assert known.look(version, np.zeros((100, FEATURES), dtype=np.float32)) is None
