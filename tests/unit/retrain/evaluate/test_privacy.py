from __future__ import annotations

import dataclasses
import functools

import msgspec
import numpy as np
import pytest
from torch import nn

from retrain import network, train
from retrain.evaluate import evaluation, privacy, section
from tests.support import digits, subjects


@functools.cache
def overfit() -> section.Subject:
    """Digit scans of which both dense models have seen only 120, one of them far too often."""
    whole = subjects.scans()
    few = whole.data.train.take(np.arange(120))
    leaky = network.build(digits.build_model, seed=0)
    often = train.FitPlan(
        task="multiclass", epochs=60, batch_size=16, learning_rate=3e-2, weight_decay=0.0
    )
    # A fifth of the labels are wrong, which only learning by heart can reproduce.
    wrong = np.arange(few.rows) % 5 == 0
    noisy = dataclasses.replace(few, targets=np.where(wrong, (few.targets + 1) % 10, few.targets))
    train.fit(leaky, noisy, often)
    careful = network.build(digits.build_model, seed=0)
    train.fit(careful, noisy, dataclasses.replace(often, epochs=3, weight_decay=1.0))
    data = dataclasses.replace(whole.data, train=noisy)
    models: dict[evaluation.Column, nn.Module] = {
        "parent": careful,
        "null": careful,
        "candidate": leaky,
    }
    return dataclasses.replace(whole, data=data, training=noisy, models=models)


@functools.cache
def found() -> section.Section:
    return privacy.measure(overfit())


def test_learning_by_heart_shows_as_leakage() -> None:
    leak = found().figures["membership_auc"]
    assert leak.low is not None
    assert leak.low > 0.55


def test_a_regularised_model_of_the_same_rows_leaks_far_less() -> None:
    careful, leaky = (found().figures[name] for name in ("membership_auc_parent", "membership_auc"))
    assert careful.value < 0.6
    assert leaky.value - careful.value > 0.08


def test_the_rise_over_the_parent_is_shown_and_told() -> None:
    rise = found().figures["membership_auc_rise"]
    assert rise.low is not None
    assert rise.low > 0.0
    assert "more than of the dense parent" in found().sentence
    assert rise.value == pytest.approx(
        found().figures["membership_auc"].value - found().figures["membership_auc_parent"].value
    )


def test_a_sound_pruning_leaks_nothing_that_can_be_shown() -> None:
    measured = privacy.measure(subjects.scans())
    rise = measured.figures["membership_auc_rise"]
    assert rise.low is not None
    assert rise.low <= 0.05
    # 500 training rows against as many of the 900 of the holdout.
    assert measured.figures["rows"].value == 500.0


def test_a_model_that_is_its_own_parent_rises_by_exactly_nothing() -> None:
    subject = subjects.scans()
    same = subjects.with_candidate(subject, subject.models["parent"])
    figures = privacy.measure(same).figures
    assert (figures["membership_auc_rise"].low, figures["membership_auc_rise"].high) == (0.0, 0.0)
    assert figures["tpr_rise"].value == 0.0


def test_each_model_has_a_row_and_a_curve() -> None:
    measured = privacy.measure(subjects.scans())
    names = ["dense parent", "null control", "candidate"]
    assert [row[0] for row in measured.tables[0].rows] == names
    assert list(measured.charts[0].series) == [*names, "chance"]
    assert all(len(row) == len(measured.tables[0].columns) for row in measured.tables[0].rows)


def test_a_regression_is_attacked_by_its_error() -> None:
    measured = privacy.measure(subjects.diabetes())
    assert measured.status == "measured"
    assert "error" in measured.tables[0].columns[-1]


def test_too_few_rows_are_not_measured() -> None:
    subject = subjects.scans()
    few = dataclasses.replace(subject.data, holdout=subject.data.holdout.take(np.arange(19)))
    measured = privacy.measure(dataclasses.replace(subject, data=few))
    assert measured.status == "not measured"
    assert "there are 19" in measured.sentence


def test_nothing_is_drawn_unless_asked() -> None:
    measured = privacy.measure(subjects.scans())
    assert measured.exemplars == ()
    assert not any(name.startswith("inversion") for name in measured.figures)


def test_the_section_travels_through_json() -> None:
    text = msgspec.json.encode(found())
    assert msgspec.json.decode(text, type=section.Section) == found()


def test_on_figures_as_on_rows_the_candidate_comes_without_a_suffix() -> None:
    figures, table = found().figures, found().tables[0]
    assert table.rows[-1][:4] == (
        "candidate",
        figures["membership_auc"].value,
        figures["membership_auc"].low,
        figures["membership_auc"].high,
    )


def test_a_candidate_that_forgets_is_told_so() -> None:
    subject = overfit()
    models = dict(subject.models)
    models["parent"], models["candidate"] = models["candidate"], models["parent"]
    measured = privacy.measure(dataclasses.replace(subject, models=models))
    assert measured.figures["membership_auc_rise"].value == pytest.approx(
        -found().figures["membership_auc_rise"].value
    )
    assert "less than of the dense parent" in measured.sentence
    assert "cannot be told from others" in measured.sentence


def test_production_rows_are_no_members() -> None:
    subject = subjects.scans()
    production = subject.data.holdout.take(np.arange(200))
    wider = dataclasses.replace(subject, training=production)
    assert privacy.measure(wider) == privacy.measure(subject)
