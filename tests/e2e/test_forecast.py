"""Example 03 as its README tells it: a recurrent forecast beside two simple ones."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from coppice import project, settings
from coppice.project import Data
from tests.support import examples
from tests.support.examples import Done, Example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return examples.copy(
        "03_forecast",
        tmp_path_factory.mktemp("examples"),
        COPPICE_TRAIN__EPOCHS="3",
        COPPICE_PRUNE__FINETUNE_EPOCHS="2",
        COPPICE_INSPECT__SECTIONS="[]",
        # Three epochs make no forecaster; what is shown here is the way, not the score.
        COPPICE_GATES__MAX_SCORE_DROP="0.5",
        COPPICE_GATES__MAX_SLICE_DROP="1.0",
    )


@pytest.fixture(scope="module")
def data(example: Example) -> Data:
    return examples.data(example)


@pytest.fixture(scope="module")
def pruned(example: Example) -> Done:
    return example.coppice("prune")


def test_the_weeks_are_cut_by_date_and_no_answer_reaches_over(data: Data) -> None:
    # Of 2,284 weeks 1,345 lie before 1984 and 156 in the next three years; each split loses the 13
    # weeks whose answer lies beyond it, the first one also the 64 that lack a past.
    assert (data.train.rows, data.validation.rows, data.holdout.rows) == (
        1345 - 64 - 13,
        156 - 13,
        783 - 13,
    )


def test_a_row_ends_with_the_week_that_the_change_counts_from(data: Data) -> None:
    past, change = data.holdout.inputs["ppm"], data.holdout.targets
    # Row 13 asks thirteen weeks after row 0, so its last week is row 0's answer.
    assert past[13, -1] == pytest.approx(past[0, -1] + change[0], abs=1e-3)


def test_the_simple_forecasts_miss_by_what_the_readme_says(example: Example, data: Data) -> None:
    project.load(settings.load(example.folder))
    own = sys.modules["project"]

    past, change = data.holdout.inputs["ppm"], data.holdout.targets
    assert np.abs(own.as_last_year(past) - change).mean() == pytest.approx(0.65, abs=0.005)
    assert np.abs(change).mean() == pytest.approx(2.94, abs=0.005)


def test_hidden_units_are_pruned_and_accepted(pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    assert "accepted: it is rolled out as soon as" in pruned.stdout


def test_the_forecasts_are_compared_on_what_came(asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    named = [line.rsplit(maxsplit=3)[0] for line in asked.stdout.splitlines()]
    assert named == ["the network", "as last year", "no change"]


def test_the_labels_are_seen_by_season(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    seen = example.wait_for(examples.labelled(examples.ROWS))
    assert {name.partition("=")[0] for name in seen["versions"][0]["slices"]} == {"season"}
