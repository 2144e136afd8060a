from __future__ import annotations

import functools

import numpy as np
import pytest
from torch import nn

from retrain import network, train
from retrain.evaluate import evaluation, inversion, privacy
from tests.support import digits, subjects


@functools.cache
def drawings() -> inversion.Drawings:
    subject = subjects.scans()
    untrained = network.build(digits.build_model, seed=1).eval()
    models: dict[evaluation.Column, nn.Module] = {
        "parent": subject.models["parent"],
        "candidate": untrained,
    }
    found = inversion.draw_all(subject, models)
    assert found is not None
    return found


def test_the_model_takes_the_drawings_for_their_classes() -> None:
    pictures = drawings().pictures["parent"]
    model = subjects.scans().models["parent"]
    answers = train.predict(model, {"pixels": pictures}, task="multiclass")
    assert answers.argmax(axis=1).tolist() == list(range(10))


def test_drawings_stay_within_what_training_has_seen() -> None:
    pictures = drawings().pictures["parent"]
    assert pictures.shape == (10, 1, 8, 8)
    assert pictures.min() >= 0.0
    assert pictures.max() <= 1.0


def test_a_trained_model_gives_more_away_than_one_that_never_saw_a_scan() -> None:
    found = drawings().resemblances
    assert found["parent"].mean() > found["candidate"].mean() + 0.1


def test_the_mean_picture_of_a_class_resembles_itself() -> None:
    train_split = subjects.scans().training
    means = np.stack(
        [
            train_split.inputs["pixels"][train_split.targets == label].mean(axis=0)
            for label in range(10)
        ]
    )
    assert inversion.resemblance(means, train_split, "pixels") == pytest.approx(np.ones(10))


def test_tables_and_regressions_are_not_drawn() -> None:
    for subject in (subjects.tumours(), subjects.diabetes()):
        assert inversion.draw_all(subject, subject.models) is None


def test_asked_for_the_section_shows_the_drawings() -> None:
    subject = subjects.with_inspect(subjects.scans(), inversion=True)
    found = privacy.measure(subject)
    # Parent and candidate, ten classes each; the null control is measured but not shown.
    assert len(found.exemplars) == 20
    assert np.array(found.exemplars[0].pixels).shape == (8, 8)
    assert {f"inversion_resemblance_{name}" for name in subject.models} <= set(found.figures)
    assert len(found.tables) == 2
