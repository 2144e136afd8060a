"""Example 04 as its README tells it: a table whose average hides what a slice pays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coppice.project import Data
from tests.support import examples
from tests.support.examples import Done, Example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return examples.copy(
        "04_members",
        tmp_path_factory.mktemp("examples"),
        COPPICE_INSPECT__SECTIONS='["metrics", "slices"]',
    )


@pytest.fixture(scope="module")
def data(example: Example) -> Data:
    return examples.data(example)


@pytest.fixture(scope="module")
def pruned(example: Example) -> Done:
    return example.coppice("prune")


@pytest.fixture(scope="module")
def cut_hard(example: Example, pruned: Done) -> Done:
    assert pruned.returncode == 0, pruned.stderr
    return example.coppice("prune", "--amount", "0.8", "--no-recovery")


def test_the_rows_are_those_that_the_readme_counts(data: Data) -> None:
    assert data.train.rows + data.validation.rows + data.holdout.rows == 14_266


def test_one_in_four_members_sees_a_doctor_often(data: Data) -> None:
    assert data.holdout.targets.mean() == pytest.approx(0.25, abs=0.01)


def test_as_this_year_is_right_for_79_of_100(data: Data) -> None:
    visits = data.holdout.inputs["numbers"][:, 0]
    assert np.mean((visits.astype(float) >= 4) == data.holdout.targets) == pytest.approx(
        0.79, abs=0.005
    )


def test_members_in_poor_health_are_as_few_as_the_readme_says(data: Data) -> None:
    assert (data.holdout.rows, np.sum(data.holdout.slices["health"] == "poor")) == (5708, 81)


def test_the_codes_fit_the_embeddings(data: Data) -> None:
    assert data.train.inputs["codes"].min(axis=0).tolist() == [0, 0, 0, 0, 0]
    assert data.train.inputs["codes"].max(axis=0).tolist() == [4, 1, 5, 3, 1]


def test_the_table_is_pruned_and_accepted(pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    assert "accepted: it is rolled out as soon as" in pruned.stdout


def test_every_declared_slice_and_class_is_gated(pruned: Done) -> None:
    gated = [line.split()[1] for line in pruned.stdout.splitlines() if " slice " in line]
    assert gated == [
        *("health=excellent", "health=fair", "health=good", "health=poor"),
        *("age=adult", "age=child", "age=older"),
        *("sex=female", "sex=male"),
        *("class=seldom", "class=often"),
    ]


def test_a_slice_refuses_what_the_average_would_pass(cut_hard: Done) -> None:
    words = {tuple(line.split()[:2]): line.split() for line in cut_hard.stdout.splitlines()}
    assert cut_hard.returncode == 4
    assert ("score", "passed") in words
    assert words[("slice", "class=seldom")][2] == "refused"
    assert "the nearest recipe of this parent that passed: 50% of the channels" in cut_hard.stdout


def test_members_are_answered_and_labelled(asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    assert f"of {examples.ROWS} right\n" in asked.stdout
    assert f"of {examples.ROWS} by the rule 'as this year'\n" in asked.stdout
    assert "told 0% to 20%: " in asked.stdout


def test_the_labels_are_seen_by_slice(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    seen = example.wait_for(examples.labelled(examples.ROWS))
    families = {name.partition("=")[0] for name in seen["versions"][0]["slices"]}
    assert families == {"health", "age", "sex"}


def test_the_champion_passes_its_gates_again(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    done = example.coppice("gate", "champion", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True
