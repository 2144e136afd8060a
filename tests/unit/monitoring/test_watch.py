from __future__ import annotations

import msgspec
import numpy as np
import pytest

from coppice import artifact, errors
from coppice.settings import Settings
from monitoring import watch
from monitoring.watch import Watch

NAMES = ("score.no", "score.yes", "input.x[0]", "input.x[1]")
MANIFEST = artifact.Manifest(
    name="tiny",
    task="binary",
    classes=("no", "yes"),
    inputs=(artifact.TensorSpec("x", "float32", (2,)),),
    features=NAMES,
    accepted=0.9,
    accepted_rows=400,
    created_at=0.0,
)


def rows(count, seed, *, at=0.0):
    """Scores and two inputs; `at` moves the first input."""
    rng = np.random.default_rng(seed)
    yes = rng.uniform(0.1, 0.9, count)
    inputs = rng.standard_normal((count, 2)) + np.array([at, 0.0])
    return np.column_stack([1.0 - yes, yes, inputs]).astype(np.float32)


def reference(**more):
    features = np.concatenate([rows(300, seed=0), rows(100, seed=1, at=3.0)])
    far = np.arange(400) >= 300
    return {
        "features": features,
        "scores": features[:, :2],
        "targets": (features[:, 1] > 0.5).astype(np.float64),
        "slice.site=near": (~far).astype(np.uint8),
        "slice.site=far": far.astype(np.uint8),
        **more,
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return Settings(
        root=tmp_path_factory.mktemp("project"),
        project={"name": "tiny", "task": "binary"},
        drift={"window": 100, "calibration_windows": 50},
    )


@pytest.fixture(scope="module")
def watched(tree):
    return Watch.of(MANIFEST, reference(), {}, tree)


def mixed(seed):
    return np.concatenate([rows(75, seed), rows(25, seed + 1, at=3.0)])


def test_a_window_of_the_references_mixture_is_clean(watched):
    assert watched.look(mixed(10)).alarmed is False


def test_a_slice_is_compared_with_its_own_rows_of_the_reference(watched):
    far = rows(100, seed=20, at=3.0)
    assert watched.slice_look("site=far", far).alarmed is False
    assert watched.slice_look("site=near", far).alarmed is True


def test_a_slice_that_the_reference_does_not_have_cannot_be_compared(watched):
    assert watched.slice_look("site=moon", rows(100, seed=20)) is None


def test_the_slices_share_the_false_alarm_rate(watched, tree):
    # 1% over four slices of four columns each.
    shared = tree.drift.false_alarm_rate / (tree.drift.slices * len(NAMES))
    assert watched.slices["site=far"].thresholds == (shared,) * 4


def test_a_slice_of_few_reference_rows_gets_no_detector_but_is_known(tree):
    few = np.zeros(400, dtype=np.uint8)
    few[:5] = 1
    watched = Watch.of(MANIFEST, reference(**{"slice.site=rare": few}), {}, tree)
    assert watched.slice_look("site=rare", rows(100, seed=0)) is None
    window = mixed(10)
    assert watched.beside(window, watched.look(window), {"site=rare": 9}).new_slices == {}


def test_a_slice_value_that_the_reference_does_not_have_is_a_new_category(watched):
    window = mixed(10)
    seen = {"site=near": 70, "site=moon": 30, "pen=ink": 100}
    # Of pens the reference says nothing, so no pen is new.
    assert watched.beside(window, watched.look(window), seen).new_slices == {"site=moon": 30}


def test_a_wild_value_is_told_beside_the_drift(watched):
    window = mixed(10)
    window[:3, 3] = 1000.0
    found = watched.beside(window, watched.look(window))
    assert found.violations.outside["input.x[1]"] >= 3


def test_an_estimate_is_trusted_of_a_window_without_drift(watched):
    window = mixed(10)
    assert watched.beside(window, watched.look(window)).estimate.trusted


def test_an_estimate_is_not_trusted_once_inputs_drift(watched):
    window = rows(100, seed=30, at=9.0)
    assert not watched.beside(window, watched.look(window)).estimate.trusted


def test_an_estimate_is_not_trusted_of_a_window_that_could_not_be_compared(watched):
    short = mixed(10)[:40]
    look = watched.look(short)
    assert look.alarmed is None
    assert not watched.beside(short, look).estimate.trusted


def test_the_versions_own_temperature_is_used(tree):
    softer = Watch.of(
        MANIFEST, reference(), {"calibration.temperature": np.array([5.0], np.float32)}, tree
    )
    window = mixed(10)
    raw = Watch.of(MANIFEST, reference(), {}, tree).beside(window, softer.look(window))
    assert softer.beside(window, softer.look(window)).estimate.mean < raw.estimate.mean


def test_labels_are_compared_with_the_references_targets(watched):
    share = watched.targets.mean()
    same = np.arange(200) < 200 * share
    assert watched.label_look(same.astype(float)).alarmed is False
    assert watched.label_look(np.ones(200)).alarmed is True


@pytest.mark.parametrize("tensors", [{}, {"features": rows(19, seed=0), "targets": np.ones(19)}])
def test_without_a_reference_nothing_is_watched_and_nothing_is_called_clean(tree, tensors):
    watched = Watch.of(MANIFEST, tensors, {}, tree)
    assert watched.look(mixed(10)) is None
    assert watched.slice_look("site=near", mixed(10)) is None


def test_without_targets_labels_cannot_drift(tree):
    assert Watch.of(MANIFEST, {}, {}, tree).label_look(np.ones(50)) is None


def test_a_version_without_features_is_not_watched(tree):
    bare = msgspec.structs.replace(MANIFEST, features=())
    assert Watch.of(bare, reference(), {}, tree).look(mixed(10)) is None


def test_features_of_another_width_cannot_be_compared(watched):
    assert watched.look(mixed(10)[:, :3]) is None
    assert watched.slice_look("site=far", mixed(10)[:, :3]) is None


def test_a_reference_of_other_columns_is_an_error_that_says_what_to_do(tree):
    broken = reference()
    broken["features"] = broken["features"][:, :3]
    with pytest.raises(errors.ArtifactCorrupt, match="pack it again"):
        Watch.of(MANIFEST, broken, {}, tree)


def test_what_is_told_beside_survives_a_checkpoint(watched):
    window = mixed(10)
    found = watched.beside(window, watched.look(window), {"site=moon": 3})
    written = msgspec.msgpack.encode(found)
    assert msgspec.msgpack.decode(written, type=watch.Beside) == found
