from __future__ import annotations

import copy
import dataclasses

import msgspec
import numpy as np
import pytest

from coppice import project
from retrain import dataset, network, train
from retrain.evaluate import answers, evaluation, metrics, offline, section
from tests.support import subjects

EMPTY = project.Split(inputs={}, targets=np.zeros(0))


@pytest.fixture(scope="module")
def scans() -> section.Section:
    return offline.measure(subjects.scans())


def table(found: section.Section, start: str) -> section.Table:
    return next(each for each in found.tables if each.title.startswith(start))


def test_all_models_stand_side_by_side(scans: section.Section) -> None:
    side = table(scans, "All models on the holdout (900 rows)")
    assert side.columns == ("figure", "dense parent", "null control", "candidate")
    assert [row[0] for row in side.rows] == [
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "auroc",
        "log_loss",
        "brier",
        "calibration_error",
    ]


def test_the_figures_are_those_that_the_gates_see(scans: section.Section) -> None:
    subject = subjects.scans()
    asked = answers.ask(subject, subject.data.holdout)
    gated = evaluation.tabulate(asked, subject.data.holdout, subject.rules)
    columns = gated.columns["candidate"]
    assert scans.figures["accuracy"].value == pytest.approx(columns["score"])
    assert scans.figures["log_loss"].value == pytest.approx(columns["log_loss"])
    assert scans.figures["calibration_error"].value == pytest.approx(columns["calibration_error"])
    drop = gated.comparisons["parent"]
    change = scans.figures["accuracy_change_parent"]
    assert change.low is not None
    assert (change.value, change.low) == pytest.approx((-drop.drop, -drop.high))


def test_every_figure_has_an_interval_that_holds_it(scans: section.Section) -> None:
    for name, figure in scans.figures.items():
        assert figure.low is not None, name
        assert figure.high is not None, name
        assert figure.low <= figure.value <= figure.high, name
        assert figure.better in {"higher", "lower"}


def test_a_change_is_surer_than_the_two_values_that_make_it(scans: section.Section) -> None:
    # Both models see the same draws, so what they share cancels.
    own, change = scans.figures["log_loss"], scans.figures["log_loss_change_null"]
    assert change.low is not None
    assert change.high is not None
    assert change.low > 0.4
    assert own.value > change.value


def test_calibration_is_drawn_for_every_model(scans: section.Section) -> None:
    chart = scans.charts[0]
    assert chart.kind == "reliability"
    assert list(chart.series) == ["dense parent", "null control", "candidate"]
    points = [point for series in chart.series.values() for point in series]
    assert all(0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 for x, y in points)
    assert all(len(series) <= metrics.BINS for series in chart.series.values())


def test_the_points_of_the_picture_are_confidence_and_accuracy() -> None:
    given = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.45, 0.55]])
    drawn = offline.reliability(
        "holdout", {"candidate": given}, np.array([0.0, 1.0, 1.0, 1.0]), "binary"
    )
    # One row of 0.55 that is right; three of 0.9, of which two are.
    assert drawn.series["candidate"] == (
        pytest.approx((0.55, 1.0)),
        pytest.approx((0.9, 2 / 3)),
    )


def test_a_regression_is_drawn_by_tenths() -> None:
    given = np.arange(20.0)
    drawn = offline.reliability("holdout", {"candidate": given}, given * 2, "regression")
    assert drawn.series["candidate"][0] == (0.5, 1.0)
    assert len(drawn.series["candidate"]) == 10


def test_a_regression_has_its_own_figures() -> None:
    found = offline.measure(subjects.diabetes())
    assert {"mae", "rmse", "r2", "mae_change_parent"} <= set(found.figures)
    assert found.figures["mae"].better == "lower"
    assert found.figures["r2"].better == "higher"
    assert "mae" in found.sentence


def test_a_model_that_learned_rows_by_heart_shows_its_gap() -> None:
    subject = subjects.tumours()
    rows = subject.training.take(np.arange(60))
    random = np.random.default_rng(0)
    # A third of the labels is redrawn: what fits them on 60 rows cannot hold on others.
    noisy = dataclasses.replace(
        rows, targets=np.where(random.random(60) < 1 / 3, 1 - rows.targets, rows.targets)
    )
    overfit = network.build(subjects.tumour_model, seed=1)
    train.fit(overfit, noisy, train.FitPlan(task="binary", epochs=150, learning_rate=2e-2))
    found = offline.measure(
        dataclasses.replace(subjects.with_candidate(subject, overfit), training=noisy)
    )
    gap = found.figures["training_gap_candidate"]
    assert gap.low is not None
    # It knows all 60 by heart; about a third of the others is then wrong.
    assert gap.value > 0.15
    assert gap.low > 0.0
    assert "by heart" in found.sentence


def test_an_honest_model_shows_none() -> None:
    found = offline.measure(subjects.tumours())
    gap = found.figures["training_gap_candidate"]
    assert gap.low is not None
    assert gap.low <= 0.0
    assert "not shown" in found.sentence


def test_overfitting_is_measured_on_as_many_rows_as_time_allows() -> None:
    subject = subjects.tumours()
    twice = np.arange(2 * subject.training.rows) % subject.training.rows
    many = subject.training.take(np.tile(twice, 20))
    assert many.rows > offline.MOST_TRAINING_ROWS
    asked = answers.ask(subject, subject.data.holdout)
    found = offline.overfitting(dataclasses.replace(subject, training=many), asked)
    # The score in training is known to about 0.01 from 5000 rows.
    expected = train.score(subject.models["parent"], subject.training, "binary")
    assert found["parent"].training == pytest.approx(expected, abs=0.01)


def test_held_back_production_rows_are_judged_apart() -> None:
    subject = subjects.tumours()
    production = dataset.Production(older=EMPTY, recent=EMPTY, held_back=subject.data.validation)
    found = offline.measure(dataclasses.replace(subject, production=production))
    assert table(found, "All models on the production (40 rows)")
    expected = train.score(subject.models["candidate"], subject.data.validation, "binary")
    assert found.figures["production_accuracy"].value == pytest.approx(expected)
    assert len(found.charts) == 2


def test_a_champion_stands_beside_the_others_but_has_no_gap() -> None:
    subject = subjects.tumours()
    champion = copy.deepcopy(subject.models["null"])
    models = dict(subject.models) | {"champion": champion}
    found = offline.measure(dataclasses.replace(subject, models=models))
    assert table(found, "All models").columns[-1] == "champion"
    assert "accuracy_change_champion" in found.figures
    gaps = table(found, "Overfitting")
    assert [row[0] for row in gaps.rows] == ["dense parent", "null control", "candidate"]


def test_the_same_seed_gives_the_same_section() -> None:
    first, second = (offline.measure(subjects.tumours()) for _ in "ab")
    assert first == second


def test_a_section_can_be_written_and_read(scans: section.Section) -> None:
    written = msgspec.json.encode(scans)
    assert msgspec.json.decode(written, type=section.Section) == scans
