from __future__ import annotations

import numpy as np

from coppice import project
from retrain.evaluate import conditions
from tests.support import subjects


def split(values: np.ndarray, **slices: list[str]) -> project.Split:  # type: ignore[type-arg]
    return project.Split(
        inputs={"x": values},
        targets=np.arange(len(values)) % 2,
        slices={name: np.array(given) for name, given in slices.items()},
    )


def words(found: tuple[conditions.Condition, ...]) -> list[str]:
    return [each.words for each in found]


def test_slices_classes_and_a_witness_name_rows() -> None:
    rows = split(np.zeros((4, 1)), pen=["ink", "lead", "ink", ""])
    answers = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = conditions.conditions(rows, ("no", "yes"), witness=("null control", answers))
    assert words(found) == [
        "pen is ink",
        "pen is lead",
        "class is no",
        "class is yes",
        "the null control answers no",
        "the null control answers yes",
    ]
    assert found[0].mask.tolist() == [True, False, True, False]
    assert found[4].mask.tolist() == [True, True, False, True]


def test_what_holds_for_all_rows_or_none_names_nothing() -> None:
    rows = split(np.full((3, 1), 7.0), pen=["ink", "ink", "ink"])
    assert conditions.conditions(rows, ()) == ()


def test_a_column_is_cut_at_its_quartiles() -> None:
    rows = split(np.arange(1.0, 102.0).reshape(-1, 1))
    found = conditions.conditions(rows, ())
    assert words(found) == ["x up to 26", "x up to 51", "x above 51", "x above 76"]
    assert [int(each.mask.sum()) for each in found] == [26, 51, 50, 25]


def test_a_column_of_few_values_is_compared_for_equality() -> None:
    rows = split(np.array([[0.0], [1.0], [1.0], [2.0]]))
    assert words(conditions.conditions(rows, ())) == ["x is 0", "x is 1", "x is 2"]


def test_the_columns_of_a_table_are_told_by_place() -> None:
    rows = split(np.array([[0.0, 5.0], [1.0, 6.0]]))
    found = conditions.conditions(rows, ())
    assert words(found) == ["x[0] is 0", "x[0] is 1", "x[1] is 5", "x[1] is 6"]
    assert {each.family for each in found} == {"x[0]", "x[1]"}


def test_real_measurements_give_four_ranges_for_each_of_thirty_columns() -> None:
    subject = subjects.tumours()
    found = conditions.conditions(subject.data.holdout, subject.data.classes)
    # Two age bands, two classes, and four ranges of each column.
    assert len(found) == 2 + 2 + 4 * 30


def test_an_image_is_told_by_simple_statistics() -> None:
    subject = subjects.scans()
    found = conditions.conditions(subject.data.holdout, ())
    families = {each.family for each in found}
    assert {"mean of pixels", "contrast of pixels", "share of zeros of pixels"} <= families
    # The paper is white everywhere somewhere, so the smallest value says nothing.
    assert "smallest value of pixels" not in families


def test_inputs_that_are_no_numbers_are_passed_over() -> None:
    rows = project.Split(inputs={"text": np.array(["a", "b"])}, targets=np.array([0, 1]))
    assert conditions.conditions(rows, ()) == ()


def test_a_class_and_an_answer_of_it_are_one_family() -> None:
    rows = split(np.zeros((2, 1)))
    found = conditions.conditions(rows, ("no", "yes"), witness=("null control", np.eye(2)))
    assert {each.family for each in found} == {"class"}


def test_many_images_are_looked_at_in_pieces_with_the_same_result() -> None:
    images = np.random.default_rng(0).normal(size=(600, 6, 7)).astype(np.float32)
    found = conditions.conditions(split(images), ())
    above = next(each for each in found if each.words.startswith("mean of x above"))
    means = images.reshape(600, -1).astype(np.float64).mean(axis=1)
    assert (above.mask == (means > np.quantile(means, 0.5))).all()


def test_a_wide_table_is_told_by_statistics() -> None:
    wide = np.random.default_rng(0).normal(size=(50, conditions.MOST_COLUMNS + 1))
    families = {each.family for each in conditions.conditions(split(wide), ())}
    assert "mean of x" in families
    assert "x[0]" not in families


def test_every_input_of_several_is_looked_at() -> None:
    rows = project.Split(
        inputs={"age": np.array([20.0, 60.0, 60.0]), "photo": np.arange(48.0).reshape(3, 4, 4)},
        targets=np.array([0, 1, 0]),
    )
    families = {each.family for each in conditions.conditions(rows, ())}
    assert {"age", "mean of photo"} <= families


def test_yes_and_no_are_values_of_a_column() -> None:
    rows = split(np.array([[True], [False], [True]]))
    assert words(conditions.conditions(rows, ())) == ["x is 0", "x is 1"]


def test_a_regression_has_no_classes_and_no_witness() -> None:
    subject = subjects.diabetes()
    given = np.zeros(subject.data.holdout.rows)
    found = conditions.conditions(subject.data.holdout, (), witness=("null control", given))
    assert not any("answers" in each.words for each in found)
