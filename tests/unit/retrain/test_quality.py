from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from coppice import project
from retrain import dataset, labelling, quality


def split(targets: list[int], values: list[float]) -> project.Split:
    return project.Split(
        inputs={"x": np.array([[value, 0.0] for value in values], np.float32)},
        targets=np.array(targets),
    )


DATA = project.Data(
    train=split([0, 1, 0, 1], [1.0, 2.0, 3.0, 3.0]),
    validation=split([0], [9.0]),
    holdout=split([0, 1], [3.0, 8.0]),
    classes=("no", "yes"),
)


def test_rows_classes_and_constant_columns_are_counted() -> None:
    figures = quality.inspect(DATA).figures
    assert (figures["train_rows"], figures["validation_rows"], figures["holdout_rows"]) == (4, 1, 2)
    assert figures["rarest_class_share"] == 0.5
    # The second of the two columns is 0 everywhere.
    assert figures["constant_columns"] == 1


def test_holdout_rows_that_were_trained_on_are_found() -> None:
    found = quality.inspect(DATA)
    # The holdout row 3.0 is in the training split, the row 8.0 is not.
    assert found.figures["leaked_share"] == 0.5
    assert "50.0% of the holdout rows are in the training split too" in found.warnings
    # Of 4 training rows 3 differ.
    assert found.figures["duplicate_train_share"] == 0.25


def test_validation_rows_that_were_trained_on_are_found() -> None:
    found = quality.inspect(dataclasses.replace(DATA, validation=split([0, 1], [1.0, 2.0])))
    assert found.figures["validation_leaked_share"] == 1.0
    assert "100.0% of the validation rows are in the training split too" in found.warnings


def test_a_class_that_training_lacks_is_named() -> None:
    data = dataclasses.replace(DATA, train=split([0, 0], [1.0, 2.0]))
    assert "no training row has the class 'yes'" in quality.inspect(data).warnings


def test_classes_with_few_holdout_rows_are_named() -> None:
    assert "fewer than 30 holdout rows for the classes no, yes" in quality.inspect(DATA).warnings


def test_an_input_that_never_changes_is_named() -> None:
    data = dataclasses.replace(DATA, train=split([0, 1], [5.0, 5.0]))
    assert "input 'x' is the same in every training row" in quality.inspect(data).warnings


def test_a_regression_has_no_classes_to_count() -> None:
    data = dataclasses.replace(DATA, classes=())
    assert "rarest_class_share" not in quality.inspect(data).figures


def test_label_sources_and_left_out_requests_are_reported() -> None:
    production = dataset.Production(
        older=split([0], [1.0]),
        recent=split([1], [2.0]),
        held_back=split([1], [4.0]),
        skipped={"the request failed": 2},
        sources={"model-assisted": 2, "human": 1},
    )
    found = quality.inspect(DATA, production)
    assert found.figures["production_rows"] == 3
    assert found.figures["held_back_rows"] == 1
    assert found.figures["labels_model-assisted_share"] == pytest.approx(2 / 3)
    assert "2 labelled requests were left out: the request failed" in found.warnings
    assert any("flatter" in warning for warning in found.warnings)


def labelled(*, blind: int, in_sight: int) -> dataset.Production:
    groups = [
        labelling.Labelling(key=labelling.Key("learned from", "human", saw, ""), rows=rows)
        for saw, rows in ((False, blind), (True, in_sight))
    ]
    rows = split([0], [1.0])
    return dataset.Production(older=rows, recent=rows, held_back=rows, labellings=tuple(groups))


def test_labels_that_mostly_saw_the_prediction_are_warned_of() -> None:
    found = quality.inspect(DATA, labelled(blind=1, in_sight=3))
    assert found.figures["independent_share"] == 0.25
    assert "most labels learned from were given in sight of a prediction" in found.warnings


def test_labels_given_blind_are_no_reason_to_warn() -> None:
    found = quality.inspect(DATA, labelled(blind=3, in_sight=1))
    assert found.figures["independent_share"] == 0.75
    assert not any("in sight" in warning for warning in found.warnings)


def test_the_digest_of_the_data_follows_every_value() -> None:
    before = quality.digest({"train": DATA.train})
    assert quality.digest({"train": DATA.train}) == before
    assert quality.digest({"holdout": DATA.train}) != before
    assert quality.digest({"train": split([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])}) != before
    assert quality.digest({"train": split([1, 1, 0, 1], [1.0, 2.0, 3.0, 3.0])}) != before


def test_the_digest_also_holds_slices_of_python_strings() -> None:
    named = dataclasses.replace(DATA.train, slices={"pen": np.array(["a", "b", "a", "b"], object)})
    other = dataclasses.replace(DATA.train, slices={"pen": np.array(["a", "b", "a", "c"], object)})
    assert quality.digest({"train": named}) == quality.digest({"train": named})
    assert quality.digest({"train": named}) != quality.digest({"train": other})
