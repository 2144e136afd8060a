"""Example 02 as its README tells it: train, prune, serve, ask, label, look, stop."""

from __future__ import annotations

import json

import pytest

from tests.support import examples
from tests.support.examples import Done, Example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return examples.copy("02_your_own_model", tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def trained(example: Example) -> Done:
    return example.python("train.py")


@pytest.fixture(scope="module")
def pruned(example: Example, trained: Done) -> Done:
    assert trained.returncode == 0, trained.stderr
    return example.coppice("prune")


def test_the_users_own_training_writes_the_checkpoint(trained: Done) -> None:
    assert "dense.safetensors" in trained.stdout


def test_a_checkpoint_is_pruned_and_accepted(pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    assert "accepted: it is rolled out as soon as" in pruned.stdout


def test_requests_with_two_inputs_are_answered_and_labelled(asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.endswith(f"of {examples.ROWS} right\n")


def test_the_labels_are_seen_at_a_glance(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    seen = example.wait_for(examples.labelled(examples.ROWS))
    champion = seen["versions"][0]
    assert (champion["part"], champion["lane"]) == ("champion", "stable 100%")
    assert set(champion["slices"]) <= {"size=large", "size=small"}
    assert seen["source"] == "monitor"


def test_the_log_holds_every_answer_and_every_label(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    counted = json.loads(example.coppice("log", "stats", "--json").stdout)
    assert counted["events"]["coppice.prediction.v1"] == examples.ROWS
    assert counted["events"]["coppice.feedback.v1"] == examples.ROWS


def test_a_command_without_a_rollout_is_refused(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    done = example.coppice("rollout", "promote")
    assert done.returncode == 7
    assert "no rollout is running" in done.stderr


def test_a_second_up_is_refused(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    done = example.coppice("up")
    assert done.returncode == 8
    assert "runs already" in done.stderr
