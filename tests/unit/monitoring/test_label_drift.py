from __future__ import annotations

import math

import numpy as np
import pytest

from monitoring import label_drift

RATE = 0.01
CLEAN = np.repeat([0, 1, 2], [400, 400, 200])


def drawn(shares, count=200, seed=0):
    return np.random.default_rng(seed).choice(len(shares), size=count, p=shares)


def test_labels_like_the_references_raise_no_alarm():
    look = label_drift.look(CLEAN, drawn([0.4, 0.4, 0.2]), RATE, task="multiclass")
    assert look.alarmed is False
    assert look.rows == 200


def test_a_shift_of_the_classes_alarms_and_names_the_one_that_moved_most():
    look = label_drift.look(CLEAN, drawn([0.2, 0.4, 0.4]), RATE, task="multiclass")
    assert look.alarmed is True
    (name,) = look.worst
    assert name in {"label.0", "label.2"}


def test_a_class_that_the_reference_does_not_have_alarms():
    window = np.concatenate([drawn([0.4, 0.4, 0.2], count=180), np.full(20, 3)])
    look = label_drift.look(CLEAN, window, RATE, task="multiclass")
    assert look.alarmed is True


def test_a_class_that_vanished_alarms():
    look = label_drift.look(CLEAN, drawn([0.5, 0.5]), RATE, task="multiclass")
    assert look.worst == ("label.2",)


def test_the_reason_says_what_moved_and_how_far():
    look = label_drift.look(CLEAN, [0.0] * 100 + [1.0] * 100, RATE, task="multiclass")
    # From 20% to none is farther than from 40% to 50%.
    assert look.reason == "class 2 makes up 0.0% of 200 labels instead of 20.0%"


def test_values_of_a_regression_are_compared_as_a_whole():
    rng = np.random.default_rng(0)
    known = rng.normal(size=1000)
    same = label_drift.look(known, rng.normal(size=200), RATE, task="regression")
    moved = label_drift.look(known, rng.normal(1.0, 1.0, 200), RATE, task="regression")
    assert (same.alarmed, moved.alarmed) == (False, True)
    assert moved.worst == ("label",)


@pytest.mark.parametrize(("reference", "window"), [(CLEAN, []), (np.empty(0), [1.0])])
def test_without_labels_on_both_sides_nothing_is_known(reference, window):
    look = label_drift.look(reference, window, RATE, task="multiclass")
    assert (look.alarmed, look.ratio) == (None, None)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_label_that_is_no_number_is_never_an_all_clear(task):
    look = label_drift.look(CLEAN, [1.0, math.nan], RATE, task=task)
    assert look.alarmed is None


def test_all_labels_of_one_class_on_both_sides_are_clean():
    look = label_drift.look(np.zeros(50), [0.0] * 20, RATE, task="binary")
    assert look.alarmed is False


def test_the_dealt_p_value_is_the_exact_one():
    # Of 4 labels, 2 of each class, 2 are dealt to the window: both of one class in 2 of 6 ways.
    found = label_drift.dealt_p_value(np.array([2, 0]), np.array([0, 2]), deals=20_000)
    assert found == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.97, 0.01, 0.01, 0.01], [0.1] * 10])
def test_clean_windows_alarm_at_most_at_the_stated_rate(shares):
    # 300 windows at 5%: 15 expected; 29 or more have a chance below 0.1%.
    alarms = [
        label_drift.look(
            drawn(shares, 500, seed), drawn(shares, 100, seed + 9999), 0.05, task="multiclass"
        ).alarmed
        for seed in range(300)
    ]
    assert sum(alarms) <= 28
