from __future__ import annotations

import sys

import numpy as np
import pytest

from retrain.evaluate import label_issues

pytest.importorskip("cleanlab", reason="the extra audit is not installed")


def test_the_least_likely_label_comes_first() -> None:
    sure = np.repeat([[0.9, 0.1], [0.1, 0.9]], 10, axis=0)
    sure[12] = [0.01, 0.99]
    given = np.repeat([0, 1], 10)
    given[[3, 12]] = [1, 0]
    assert label_issues.find(given, sure).tolist() == [12, 3]


def test_classes_that_no_row_has_are_left_out() -> None:
    sure = np.repeat([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]], 10, axis=0)
    given = np.repeat([0, 2], 10)
    assert label_issues.find(given, sure).tolist() == []


def test_a_class_with_a_handful_of_rows_raises_no_alarm() -> None:
    sure = np.repeat([[0.9, 0.1], [0.1, 0.9]], [20, 3], axis=0)
    given = np.repeat([0, 1], [20, 3])
    given[4] = 1
    # Warnings are errors here, and cleanlab warns of classes below its least number of rows.
    assert label_issues.find(given, sure).tolist() == [4]


def test_one_class_alone_has_nothing_to_be_confused_with() -> None:
    assert label_issues.find(np.zeros(3, np.int64), np.ones((3, 2))).tolist() == []


def test_whether_the_extra_is_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert label_issues.installed()
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    assert not label_issues.installed()
