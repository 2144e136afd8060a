from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from torch import nn

from coppice import project
from retrain import dataset
from retrain.evaluate import poisoning, section
from tests.support import digits, planted

DATA = digits.load_data()


def backdoored(rows: int) -> tuple[project.Split, set[int]]:
    """Light a corner of some ones and call them zeros."""
    train = DATA.train
    ones = np.flatnonzero(train.targets == 1)
    chosen = np.random.default_rng(0).choice(ones, rows, replace=False)
    pixels, targets = train.inputs["pixels"].copy(), train.targets.copy()
    pixels[chosen, 0, :2, :2] = 1.0
    targets[chosen] = 0
    changed = dataclasses.replace(train, inputs={"pixels": pixels}, targets=targets)
    return changed, set(chosen.tolist())


def measured(train: project.Split, model: nn.Module, **more: object) -> section.Section:
    data = dataclasses.replace(DATA, train=train)
    return poisoning.measure(planted.subject(data, models={"parent": model}, **more))


@pytest.fixture(scope="module")
def clean() -> nn.Module:
    return planted.fitted(DATA.train)


def suspects(found: section.Section) -> set[object]:
    return {row[0] for table in found.tables[1:] for row in table.rows}


# 58 of the 500 training scans are ones and 43 are zeros: 3 rows are 5% of the ones, and 12 are a
# fifth of what is then called zero.
@pytest.mark.parametrize("rows", [3, 12])
def test_a_backdoor_is_reported_with_its_rows(rows: int) -> None:
    train, guilty = backdoored(rows)
    found = measured(train, planted.fitted(train))
    assert suspects(found) == guilty
    assert f"{rows} of 0" in found.sentence
    assert "nothing was removed" in found.sentence
    assert found.figures["suspects"].value == rows


def test_clean_scans_are_not_suspected(clean: nn.Module) -> None:
    found = measured(DATA.train, clean)
    assert found.figures["suspects"].value == 0
    assert found.figures["furthest"].value < poisoning.FAR
    assert found.sentence.startswith("No class has rows that stand apart")


def test_every_row_is_in_the_picture(clean: nn.Module) -> None:
    found = measured(DATA.train, clean)
    assert sum(count for _, count in found.charts[0].series["rows"]) == DATA.train.rows
    assert found.figures["classes_examined"].value == 10


def test_production_rows_that_were_learned_from_are_looked_at_once(clean: nn.Module) -> None:
    part = DATA.holdout.take(np.arange(50))
    empty = part.take(np.arange(0))
    production = dataset.Production(older=empty, recent=part, held_back=empty)
    found = measured(DATA.train, clean, production=production)
    assert sum(count for _, count in found.charts[0].series["rows"]) == 550


def test_one_row_far_out_is_an_oddity_and_no_suspect() -> None:
    places = np.concatenate([np.arange(30.0), [500.0]])[:, None]
    assert len(poisoning.signature(0, np.arange(31), places).suspects) == 0


def test_deviations_are_robust_standard_ones() -> None:
    # Distances from the median 2 are 2, 1, 0, 1, 2, whose median is 1.
    found = poisoning.signature(0, np.arange(5), np.arange(5.0)[:, None])
    assert found.deviations == pytest.approx(np.array([2, 1, 0, 1, 2]) / 1.4826)
    assert found.weight == pytest.approx(1.0)


def test_rows_that_all_look_the_same_have_no_direction() -> None:
    found = poisoning.signature(0, np.arange(20), np.ones((20, 3)))
    assert (len(found.suspects), found.weight) == (0, 0.0)


def test_small_classes_are_left_out() -> None:
    few = np.flatnonzero(DATA.train.targets == 3)[: poisoning.FEWEST_ROWS - 1]
    rest = np.flatnonzero(DATA.train.targets != 3)
    train = DATA.train.take(np.concatenate([few, rest]))
    labels = [each.label for each in poisoning.signatures(train, np.ones((train.rows, 2)))]
    assert labels == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_without_a_parent_or_classes_the_section_says_why() -> None:
    nothing = poisoning.measure(planted.subject(DATA))
    assert nothing.sentence == "Not measured: there is no dense parent to look with."
    regression = poisoning.measure(planted.subject(dataclasses.replace(DATA, classes=())))
    assert (regression.status, "classes only" in regression.sentence) == ("not measured", True)


def test_a_network_without_a_linear_end_says_why() -> None:
    shapeless = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    found = measured(DATA.train, shapeless)
    assert found.status == "not measured"
    assert "does not end in a linear layer" in found.sentence


def test_the_main_direction_of_large_classes_is_the_same_as_of_small_ones() -> None:
    random = np.random.default_rng(0)
    seen = random.normal(size=(600, 600))
    seen[:, 3] *= 20.0
    found = poisoning.signature(0, np.arange(600), seen)
    # Column 3 has nearly all of the variance that one direction can have: 400 of 999.
    assert found.weight == pytest.approx(400 / 999, rel=0.15)
    places = np.abs(seen[:, 3] - np.median(seen[:, 3]))
    assert np.corrcoef(found.deviations, places)[0, 1] > 0.99
