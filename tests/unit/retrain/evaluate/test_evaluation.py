from __future__ import annotations

import msgspec
import numpy as np

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import evaluation

RULES = evaluation.Rules(task="binary", classes=("no", "yes"), min_slice_rows=2)


def says(*classes: int) -> Floats:
    return np.eye(2, dtype=np.float32)[list(classes)]


def holdout(*targets: int) -> project.Split:
    return project.Split(inputs={}, targets=np.array(targets))


def test_every_column_is_measured_and_compared_with_the_candidate() -> None:
    answers: dict[evaluation.Column, Floats] = {
        "parent": says(0, 1, 0, 1),
        "null": says(0, 1, 0, 0),
        "candidate": says(0, 1, 1, 0),
        "champion": says(1, 1, 1, 1),
    }
    table = evaluation.tabulate(answers, holdout(0, 1, 0, 1), RULES)
    assert {name: table.score(name) for name in answers} == {
        "parent": 1.0,
        "null": 0.75,
        "candidate": 0.5,
        "champion": 0.5,
    }
    assert table.comparisons["parent"].drop == 0.5
    assert table.comparisons["null"].drop == 0.25
    assert table.comparisons["champion"].drop == 0.0


def test_the_yardstick_is_the_better_of_parent_and_null_control() -> None:
    answers: dict[evaluation.Column, Floats] = {
        "parent": says(0, 0),
        "null": says(0, 1),
        "candidate": says(0, 0),
    }
    table = evaluation.tabulate(answers, holdout(0, 1), RULES)
    assert table.yardstick == "null"
    # Slices are compared with the yardstick: the candidate loses the one row of class yes.
    assert table.slices["class=yes"].drop == 1.0
    assert table.slices["class=no"].drop == 0.0


def test_the_dense_parent_wins_a_tie() -> None:
    answers: dict[evaluation.Column, Floats] = {
        "null": says(0),
        "parent": says(0),
        "candidate": says(0),
    }
    assert evaluation.tabulate(answers, holdout(0), RULES).yardstick == "parent"


def test_a_dense_parent_alone_is_measured_and_compared_with_nothing() -> None:
    table = evaluation.tabulate({"parent": says(0, 1)}, holdout(0, 1), RULES)
    assert table.score("parent") == 1.0
    assert table.comparisons == {}
    assert table.slices == {}


def test_an_evaluation_travels_through_json() -> None:
    answers: dict[evaluation.Column, Floats] = {"parent": says(0, 1), "candidate": says(0, 0)}
    judged = evaluation.Evaluation(holdout=evaluation.tabulate(answers, holdout(0, 1), RULES))
    text = msgspec.json.encode(judged)
    assert msgspec.json.decode(text, type=evaluation.Evaluation) == judged
