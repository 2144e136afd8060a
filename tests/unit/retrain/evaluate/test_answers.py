from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from coppice import project, runtime
from retrain import dataset, train
from retrain.evaluate import answers
from tests.support import artifacts, subjects

EMPTY = project.Split(inputs={"values": np.zeros((0, 30))}, targets=np.zeros(0))


def test_every_model_answers_in_one_order() -> None:
    subject = subjects.tumours()
    found = answers.ask(subject, subject.data.holdout)
    assert list(found) == ["parent", "null", "candidate"]
    expected = train.predict(
        subject.models["candidate"], subject.data.holdout.inputs, task="binary"
    )
    assert np.allclose(found["candidate"], expected)
    assert found["candidate"].dtype == np.float64


def test_a_champion_that_is_only_a_graph_is_asked_in_the_serving_runtime(tmp_path: Path) -> None:
    weight = np.stack([np.zeros(4), np.ones(4)], axis=1)
    artifacts.linear_classifier(tmp_path, name="tiny", weight=weight)
    values = np.array([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]] * 200, dtype=np.float32)
    split = project.Split(inputs={"x": values}, targets=np.array([1, 0] * 200))
    subject = dataclasses.replace(
        subjects.tumours(), models={}, graphs={"champion": runtime.packed(tmp_path)}
    )
    found = answers.ask(subject, split)
    # The logits are 0 and +4 or -4, so the second class has 1 / (1 + e^-4) or 1 / (1 + e^4).
    assert list(found) == ["champion"]
    assert found["champion"].shape == (400, 2)
    assert found["champion"][:2, 1] == pytest.approx([0.98201, 0.01799], abs=1e-4)


def test_rows_to_judge_on_are_the_holdout_and_held_back_production() -> None:
    subject = subjects.tumours()
    held_back = subject.data.validation
    production = dataset.Production(older=EMPTY, recent=EMPTY, held_back=held_back)
    assert answers.splits(subject) == {"holdout": subject.data.holdout}
    with_some = dataclasses.replace(subject, production=production)
    assert answers.splits(with_some) == {"holdout": subject.data.holdout, "production": held_back}


def test_production_without_held_back_rows_is_no_judge() -> None:
    production = dataset.Production(older=EMPTY, recent=EMPTY, held_back=EMPTY)
    subject = dataclasses.replace(subjects.tumours(), production=production)
    assert list(answers.splits(subject)) == ["holdout"]
