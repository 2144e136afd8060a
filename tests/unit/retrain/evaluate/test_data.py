from __future__ import annotations

import dataclasses

import numpy as np

from coppice import project
from retrain import dataset
from retrain.evaluate import data, section
from tests.support import digits, planted

DATA = digits.load_data()


def holding(holdout: project.Split, training: project.Split, rows: int) -> project.Split:
    """Put the first training rows over the first holdout rows."""
    pixels, targets = holdout.inputs["pixels"].copy(), holdout.targets.copy()
    pixels[:rows], targets[:rows] = training.inputs["pixels"][:rows], training.targets[:rows]
    return dataclasses.replace(holdout, inputs={"pixels": pixels}, targets=targets)


def measured(changed: project.Data, **more: object) -> section.Section:
    return data.measure(planted.subject(changed, **more))


def table(found: section.Section, title: str) -> section.Table:
    return next(each for each in found.tables if each.title.startswith(title))


def test_sound_data_are_called_sound() -> None:
    found = measured(DATA)
    assert found.status == "measured"
    assert found.sentence.startswith("No leak")
    assert found.figures["leaked_share"].value == 0.0
    assert found.figures["near_leaked_share"].value == 0.0


def test_a_leaked_holdout_is_found_and_its_rows_are_named() -> None:
    found = measured(dataclasses.replace(DATA, holdout=holding(DATA.holdout, DATA.train, 30)))
    # 30 of the 300 holdout rows.
    assert found.figures["leaked_share"].value == 0.1
    assert "30 of 300 holdout rows are in the training split too" in found.sentence
    copies = table(found, "Copies in train and holdout")
    assert [row[:2] for row in copies.rows] == [(row, row) for row in range(30)]
    assert found.exemplars[0].caption == "holdout row 0 is training row 0"


def test_a_holdout_of_slightly_brighter_copies_is_found() -> None:
    copies = holding(DATA.holdout, DATA.train, 30)
    brighter = {"pixels": copies.inputs["pixels"] * np.float32(1.01)}
    found = measured(
        dataclasses.replace(DATA, holdout=dataclasses.replace(copies, inputs=brighter))
    )
    assert found.figures["leaked_share"].value == 0.0
    assert found.figures["near_leaked_share"].value == 0.1
    assert "nearly the same as a training row" in found.sentence


def test_rows_that_repeat_with_another_label_are_found() -> None:
    twice = DATA.train.take(np.r_[np.arange(500), 4, 9])
    targets = twice.targets.copy()
    targets[501] = (targets[501] + 1) % 10
    changed = dataclasses.replace(DATA, train=dataclasses.replace(twice, targets=targets))
    found = measured(changed)
    assert found.figures["duplicate_train_share"].value == 2 / 502
    assert found.figures["conflicting_train_share"].value == 1 / 502
    assert table(found, "Same row, different label").rows == ((501, 9, 0.0),)
    assert "1 training rows repeat another with a different label" in found.sentence


def test_classes_are_counted_by_split_and_imbalance_is_told() -> None:
    few = np.flatnonzero(DATA.train.targets == 3)[5:]
    train = DATA.train.take(np.setdiff1d(np.arange(500), few))
    found = measured(dataclasses.replace(DATA, train=train))
    counts = {row[0]: row[1] for row in table(found, "Rows by class").rows}
    assert counts["3"] == 5
    assert found.figures["imbalance"].value >= 10.0
    assert "times the rows of the smallest" in found.sentence


def test_a_class_without_training_rows_is_named() -> None:
    train = DATA.train.take(DATA.train.targets != 3)
    found = measured(dataclasses.replace(DATA, train=train))
    assert "No training row has the class 3." in found.sentence


def test_a_holdout_in_other_units_is_found() -> None:
    brighter = {"pixels": DATA.holdout.inputs["pixels"] * np.float32(16.0)}
    changed = dataclasses.replace(DATA.holdout, inputs=brighter)
    found = measured(dataclasses.replace(DATA, holdout=changed))
    assert found.figures["stray_columns"].value > 10
    assert "leave in the holdout the range they had in training" in found.sentence


def test_missing_values_are_counted() -> None:
    pixels = DATA.holdout.inputs["pixels"].copy()
    pixels[:, 0, 2, 2] = np.nan
    changed = dataclasses.replace(DATA.holdout, inputs={"pixels": pixels})
    found = measured(dataclasses.replace(DATA, holdout=changed))
    # One of 64 columns, in all rows.
    assert found.figures["missing_share"].value == 1 / 64
    empty = table(found, "Columns without information or values")
    assert ("pixels[0,2,2]", "no", 1.0) in empty.rows


def test_production_rows_that_were_learned_from_do_not_judge_unnoticed() -> None:
    recent, empty = DATA.holdout.take(np.arange(40)), DATA.holdout.take(np.arange(0))
    production = dataset.Production(older=empty, recent=recent, held_back=recent.take(np.arange(9)))
    found = measured(DATA, production=production)
    assert found.figures["held_back_leaked_share"].value == 1.0
    assert "9 of 9 held-back production rows" in found.sentence


def test_a_regression_has_no_classes_to_count() -> None:
    found = measured(dataclasses.replace(DATA, classes=()))
    assert "imbalance" not in found.figures
