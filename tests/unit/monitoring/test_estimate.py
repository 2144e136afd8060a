from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from coppice import artifact
from monitoring import estimate
from monitoring.estimate import Estimator

REGRESSION = artifact.Manifest(
    name="tiny",
    task="regression",
    inputs=(artifact.TensorSpec("x", "float32", (2,)),),
    scale=2.0,
    accepted=0.9,
    accepted_rows=1000,
    created_at=0.0,
)
CLASSES = msgspec.structs.replace(REGRESSION, task="binary", classes=("no", "yes"))


def calibrated(rows=4000, seed=0, *, strength=1.0):
    """Answers whose truth is drawn from their own probabilities; `strength` overstates them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.5, rows)
    honest = 1.0 / (1.0 + np.exp(-logits))
    told = 1.0 / (1.0 + np.exp(-strength * logits))
    scores = np.column_stack([1.0 - told, told])
    targets = (rng.random(rows) < honest).astype(np.float64)
    return {"features": scores, "scores": scores, "targets": targets}


def accuracy(tensors):
    return np.mean(tensors["scores"].argmax(axis=1) == tensors["targets"])


def test_the_mean_confidence_of_a_calibrated_version_is_its_accuracy():
    estimator = Estimator.of(CLASSES, calibrated(), 1.0)
    fresh = calibrated(seed=1)
    found = estimator.look(fresh["features"], trusted=True)
    # Both err by about sqrt(0.2 / 4000) = 0.007.
    assert found.mean == pytest.approx(accuracy(fresh), abs=0.025)
    assert found.low < found.mean < found.high


def test_an_overconfident_version_is_put_right_by_its_own_calibrator():
    bold = calibrated(strength=3.0)
    raw = Estimator.of(CLASSES, bold, 1.0).look(bold["features"], trusted=True)
    own = Estimator.of(CLASSES, bold, 3.0).look(bold["features"], trusted=True)
    assert raw.mean > accuracy(bold) + 0.08
    assert own.mean == pytest.approx(accuracy(bold), abs=0.025)


def test_answers_that_are_less_sure_than_the_references_lower_the_estimate():
    estimator = Estimator.of(CLASSES, calibrated(), 1.0)
    unsure = np.full((400, 2), 0.5)
    found = estimator.look(unsure, trusted=True)
    assert found.mean == pytest.approx(0.5)
    assert found.fell(0.05)


def test_like_answers_do_not_fall():
    estimator = Estimator.of(CLASSES, calibrated(), 1.0)
    found = estimator.look(calibrated(400, seed=3)["features"], trusted=True)
    assert not found.fell(0.05)


def many_classes(rows, share_right, confidence):
    """Features of 20 classes: 15 scores and the confidence, which alone is looked at."""
    scores = np.full((rows, 20), (1.0 - confidence) / 19)
    scores[:, 0] = confidence
    features = np.column_stack([scores[:, :15], scores.max(axis=1)])
    targets = (np.arange(rows) >= share_right * rows).astype(np.float64)
    return {"features": features, "scores": scores, "targets": targets}


def test_of_many_classes_the_confidence_is_calibrated_on_the_reference():
    manifest = msgspec.structs.replace(
        CLASSES, task="multiclass", classes=tuple(str(number) for number in range(20))
    )
    sure = many_classes(500, share_right=0.9, confidence=0.99)
    unsure = many_classes(500, share_right=0.5, confidence=0.4)
    both = {name: np.concatenate([sure[name], unsure[name]]) for name in sure}
    estimator = Estimator.of(manifest, both, 1.0)
    assert estimator.look(sure["features"], trusted=True).mean == pytest.approx(0.9, abs=0.02)
    assert estimator.look(unsure["features"], trusted=True).mean == pytest.approx(0.5, abs=0.02)


def noisy(rows=3000, seed=0, *, far=0.2):
    """A regression whose error grows with its first input; a share of the rows lies far out."""
    rng = np.random.default_rng(seed)
    size = np.where(rng.random(rows) < far, 2.0, 0.5)
    other = rng.normal(size=rows)
    error = 0.4 * size * rng.standard_normal(rows)
    return {
        "features": np.column_stack([other, size, other]),
        "scores": other,
        "targets": other + error,
    }


def right(tensors):
    errors = np.abs(tensors["scores"] - tensors["targets"])
    return 1.0 - np.minimum(errors / REGRESSION.scale, 1.0).mean()


def test_the_loss_of_a_regression_is_estimated_from_its_inputs():
    estimator = Estimator.of(REGRESSION, noisy(), 1.0)
    worse = noisy(seed=1, far=0.9)
    found = estimator.look(worse["features"], trusted=True)
    assert found.mean == pytest.approx(right(worse), abs=0.02)
    assert found.expected == pytest.approx(right(noisy()), abs=0.01)
    assert found.fell(0.05)


def test_a_constant_feature_does_no_harm():
    tensors = noisy()
    tensors["features"][:, 2] = 3.0
    estimator = Estimator.of(REGRESSION, tensors, 1.0)
    assert math.isfinite(estimator.look(tensors["features"], trusted=True).mean)


@pytest.mark.parametrize("window", [np.empty((0, 2)), np.array([[0.5, math.nan]])])
def test_an_empty_or_broken_window_has_no_estimate(window):
    assert Estimator.of(CLASSES, calibrated(), 1.0).look(window, trusted=True) is None


def test_a_version_without_a_whole_reference_is_not_estimated():
    tensors = calibrated()
    del tensors["targets"]
    assert Estimator.of(CLASSES, tensors, 1.0) is None
    assert Estimator.of(CLASSES, {}, 1.0) is None


def test_a_broken_reference_is_not_estimated_from():
    tensors = calibrated()
    tensors["features"][3, 0] = math.nan
    assert Estimator.of(CLASSES, tensors, 1.0) is None


def test_an_estimate_is_trusted_only_as_far_as_its_window_is():
    found = Estimator.of(CLASSES, calibrated(), 1.0).look(calibrated()["features"], trusted=False)
    assert not found.trusted


def test_a_score_of_nought_does_not_break_the_calibration():
    found = estimate.calibrated_confidence(np.array([[1.0, 0.0]]), temperature=2.0)
    assert found.tolist() == pytest.approx([1.0], abs=1e-5)
