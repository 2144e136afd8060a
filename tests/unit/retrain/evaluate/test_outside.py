from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain.evaluate import outside, rows
from tests.support import digits, planted

DATA = digits.load_data()


def nothing(split: project.Split) -> rows.Matrix | None:
    del split


def answers(split: project.Split, rival: float = 0.0) -> outside.Outside:
    found = outside.answers(split, 10, embed=nothing, rival=rival, seed=0)
    assert found is not None
    return found


def test_real_scans_are_told_apart_without_having_been_learned() -> None:
    found = answers(DATA.train)
    assert (found.basis, found.probabilities.shape) == ("raw columns", (500, 10))
    assert found.accuracy > 0.9
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(500))


def test_labels_without_meaning_are_not_known_by_heart() -> None:
    random = np.random.default_rng(0).integers(0, 10, DATA.train.rows)
    shuffled = project.Split(inputs=DATA.train.inputs, targets=random)
    # Chance is a tenth; 500 rows give a standard deviation of 1.3%, so five of them are 6.7%.
    assert answers(shuffled).accuracy < 0.17


def test_the_embedding_is_read_only_where_the_network_is_far_ahead() -> None:
    def eyes(split: project.Split) -> rows.Matrix:
        return np.eye(10)[split.targets]

    ahead = outside.answers(DATA.train, 10, embed=eyes, rival=1.1, seed=0)
    behind = outside.answers(DATA.train, 10, embed=eyes, rival=0.97, seed=0)
    assert ahead is not None
    assert behind is not None
    assert (ahead.basis, behind.basis) == ("embedding", "raw columns")


def test_without_an_embedding_the_raw_columns_have_to_do() -> None:
    assert answers(DATA.train, rival=1.1).basis == "raw columns"


def test_classes_with_fewer_rows_than_folds_are_not_examined() -> None:
    few = np.flatnonzero(DATA.train.targets == 3)[:4]
    rest = np.flatnonzero(DATA.train.targets != 3)
    found = answers(DATA.train.take(np.concatenate([few, rest])))
    assert found.chosen.min() == 4
    assert not found.probabilities[:, 3].any()


def test_one_class_alone_teaches_nothing() -> None:
    alone = DATA.train.take(DATA.train.targets == 3)
    assert outside.answers(alone, 10, embed=nothing, rival=0.0, seed=0) is None


def test_wide_rows_are_reduced_first() -> None:
    data = planted.cancer()
    wide = np.repeat(data.train.inputs["cells"], 3, axis=1)
    split = project.Split(inputs={"cells": wide}, targets=data.train.targets)
    found = outside.answers(split, 2, embed=nothing, rival=0.0, seed=0)
    assert found is not None
    assert found.accuracy > 0.9


def test_the_network_itself_is_asked_about_rows_that_it_was_not_trained_on() -> None:
    found = outside.trained(
        planted.own("multiclass", {}), DATA.train.take(np.arange(300)), 10, folds=2, seed=0
    )
    assert (found.basis, len(found.chosen)) == ("network", 300)
    # Twenty epochs on 150 scans: far above the tenth of chance, below what the whole would give.
    assert 0.75 < found.accuracy < 1.0
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(300))


def test_a_classifier_that_has_not_quite_settled_is_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With so weak a penalty it would need far more than 500 steps; warnings are errors here.
    monkeypatch.setattr(outside, "STRENGTH", 1e9)
    noise = np.random.default_rng(0).normal(size=(200, 60)) * np.logspace(0, 6, 60)
    targets = np.random.default_rng(1).integers(0, 10, 200)
    found = answers(project.Split(inputs={"x": noise}, targets=targets))
    assert found.accuracy < 0.3
