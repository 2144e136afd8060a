from __future__ import annotations

import copy
import dataclasses
import re

import msgspec
import numpy as np
import pytest
import torch

from coppice import project
from retrain import dataset, train
from retrain.evaluate import found_slices, noninferiority, section
from retrain.pruning import recipe, schedule
from tests.support import subjects

EMPTY = project.Split(inputs={}, targets=np.zeros(0))
THICK = 0.328
"""Mean ink of a scan above which about one in four is."""


def rows(found: section.Section, start: str) -> list[tuple[section.Cell, ...]]:
    tables = [each for each in found.tables if each.title.startswith(start)]
    assert len(tables) == 1
    return list(tables[0].rows)


def shown(found: section.Section) -> list[str]:
    return [str(row[0]) for row in rows(found, "Subsets found") if row[-1] == "yes"]


def test_a_class_destroyed_by_pruning_is_found() -> None:
    # The recovery after the cut never sees an eight, so the pruned model forgets what one is.
    subject = subjects.scans()
    known = subject.training.take(subject.training.targets != 8)
    candidate = copy.deepcopy(subject.models["parent"])
    hard = recipe.Recipe(criterion="magnitude", amount=0.5, align=4)
    schedule.prune(candidate, known, hard, task="multiclass", seed=0)
    train.fit(candidate, known, train.FitPlan(task="multiclass", epochs=10, learning_rate=5e-3))
    found = found_slices.measure(subjects.with_candidate(subject, candidate))
    assert found.figures["worst_slice_drop"].value > 0.5
    worst = rows(found, "Declared slices and classes on the holdout")[0]
    assert worst[0] == "class=8"
    assert worst[5] == "worse than the margin"
    assert any("8" in words for words in shown(found))
    assert "class=8" in found.sentence


def test_a_hidden_subset_of_images_is_found_and_named() -> None:
    subject = subjects.scans()
    harmed = subjects.Harmed(
        subject.models["null"], lambda scans: scans.mean(dim=(1, 2, 3)) > THICK
    )
    found = found_slices.measure(subjects.with_candidate(subject, harmed))
    # No declared slice and no class is it, but the search says which scans they are.
    assert "mean of pixels above" in shown(found)[0]
    drop = found.figures["worst_found_slice_drop"]
    assert drop.low is not None
    assert drop.low > 0.1
    assert found.figures["found_slices_by_training_alone"].value == 0


def test_a_hidden_subset_of_a_table_is_found_and_named() -> None:
    subject = subjects.tumours()
    harmed = subjects.Harmed(
        subject.models["null"],
        lambda values: (values[:, 0] > 0.6) & (values[:, 1] > 0.0),
    )
    found = found_slices.measure(subjects.with_candidate(subject, harmed))
    assert any("values[0]" in words or "values[1]" in words for words in shown(found))


def test_a_harmless_candidate_yields_no_finding() -> None:
    subject = subjects.scans()
    harmless = copy.deepcopy(subject.models["parent"])
    with torch.no_grad():
        # One dead weight in a hundred of the last layer, as a mild pruning leaves it.
        harmless[-1].weight.view(-1)[::100] = 0.0
    found = found_slices.measure(subjects.with_candidate(subject, harmless))
    assert shown(found) == []
    assert found.figures["found_slices"].value == 0
    assert "none that pays" in found.sentence
    assert "at least 20 rows" in found.sentence


def test_the_smallest_size_is_a_setting() -> None:
    subject = subjects.with_inspect(subjects.scans(), found_slice_rows=200)
    found = found_slices.measure(subject)
    assert "at least 200 rows" in found.sentence
    assert all(int(str(row[1])) >= 200 for row in rows(found, "Subsets found"))


def test_declared_slices_are_judged_and_counted() -> None:
    found = found_slices.measure(subjects.tumours())
    # Two bands and two classes of more than a hundred rows; not one row got worse.
    assert found.figures["slices_no_worse"].value == 4
    assert found.figures["slices_worse"].value == found.figures["slices_open"].value == 0
    assert "Of 4 declared slices and classes 4 are shown to lose less" in found.sentence


def test_a_regression_has_slices_but_no_classes() -> None:
    found = found_slices.measure(subjects.diabetes())
    assert re.match(r"Of \d+ declared slices \d+ are shown to lose less", found.sentence)


def test_slices_are_judged_on_production_too() -> None:
    subject = subjects.tumours()
    production = dataset.Production(older=EMPTY, recent=EMPTY, held_back=subject.data.validation)
    found = found_slices.measure(dataclasses.replace(subject, production=production))
    assert len(rows(found, "Declared slices and classes on the production")) == 4
    # 40 rows in slices of about 20: too few for any judgement.
    assert found.figures["production_slices_no_worse"].value == 0
    assert len(found.charts) == 2


def test_a_regression_without_slices_says_so() -> None:
    subject = subjects.diabetes()
    holdout = dataclasses.replace(subject.data.holdout, slices={})
    data = dataclasses.replace(subject.data, holdout=holdout)
    found = found_slices.measure(dataclasses.replace(subject, data=data))
    assert found.sentence.startswith("No slices are declared")
    assert "worst_slice_drop" not in found.figures
    # The ten columns are searched all the same.
    assert rows(found, "Subsets found")


def test_what_is_not_borne_out_is_told_as_such() -> None:
    found = found_slices.measure(subjects.scans())
    proposals = rows(found, "Subsets found")
    assert {row[-1] for row in proposals} <= {"yes", "no"}
    assert all(float(str(row[8])) > 0.05 for row in proposals if row[-1] == "no")


def test_open_slices_are_told_how_many_rows_would_close_them() -> None:
    found = found_slices.measure(subjects.scans())
    assert found.figures["slices_open"].value > 0
    needed = noninferiority.rows_needed(0.05, slices=12, confidence=0.95)
    assert f"a slice that loses nothing needs {needed} rows" in found.sentence
    assert "needs" not in found_slices.measure(subjects.tumours()).sentence


def test_the_picture_shows_the_worst_slices_first() -> None:
    found = found_slices.measure(subjects.scans())
    (chart,) = found.charts
    heights = [y for _, y in chart.series["candidate"]]
    assert heights == sorted(heights, reverse=True)
    assert len(chart.labels) == len(heights) == 12


@pytest.mark.parametrize("make", [subjects.scans, subjects.diabetes], ids=["scans", "diabetes"])
def test_a_section_can_be_repeated_written_and_read(make: object) -> None:
    assert callable(make)
    first, second = (found_slices.measure(make()) for _ in "ab")
    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first), type=section.Section) == first
