from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from torch import nn

from coppice import project, records, settings
from coppice.eventlog.memory import MemoryLog
from retrain import dataset, train
from retrain.evaluate import labels, section
from tests.support import digits, planted

pytest.importorskip("cleanlab", reason="the extra audit is not installed")

DATA = digits.load_data()
TREE = settings.Settings(project=settings.ProjectSettings(name="digits", task="multiclass"))


@pytest.fixture(scope="module")
def parent() -> nn.Module:
    return planted.fitted(DATA.train)


def measured(data: project.Data, **more: object) -> section.Section:
    return labels.measure(planted.subject(data, **more))


def suspects(found: section.Section, split: str) -> set[object]:
    named = [each for each in found.tables if each.title.startswith(f"Suspect labels of {split}")]
    return {row[0] for row in named[0].rows}


def test_most_of_five_percent_flipped_digits_are_found() -> None:
    flipped, guilty = planted.flipped(DATA.train, 0.05, 10)
    named = suspects(measured(dataclasses.replace(DATA, train=flipped)), "train")
    # The cross-validated classifier is right on nine in ten scans, so it contradicts 22.5 of the 25
    # flips with a standard deviation of 1.5; three of them below is 18, of which it must be sure.
    assert len(named & guilty) >= 16
    # Named at random, 1 in 20 would be guilty.
    assert len(named & guilty) / len(named) > 10 * 0.05


def test_most_of_five_percent_flipped_diagnoses_are_found() -> None:
    data = planted.cancer()
    flipped, guilty = planted.flipped(data.train, 0.05, 2)
    found = measured(dataclasses.replace(data, train=flipped))
    named = suspects(found, "train")
    # 18 rows are flipped; the classifier is right on 95%, so 17 with a deviation of 0.9.
    assert len(named & guilty) >= 14
    assert len(named & guilty) / len(named) > 0.7
    assert f"{len(named)} of 350 train labels are suspect" in found.sentence


def test_labels_of_rows_that_nobody_can_tell_apart_are_not_called_certainly_wrong() -> None:
    values, outcome = load_diabetes(return_X_y=True)
    rows = project.Split(
        inputs={"values": values.astype(np.float32)},
        targets=(outcome > np.median(outcome)).astype(np.int64),
    )
    found = measured(project.Data(train=rows, validation=rows, holdout=rows, classes=("a", "b")))
    # A quarter of these patients are on the other side of the median than any model would say.
    assert len(suspects(found, "train")) == labels.MOST_NAMED
    assert found.figures["issue_share"].value < 0.02


def test_flipped_holdout_labels_are_found_by_the_dense_parent(parent: nn.Module) -> None:
    flipped, guilty = planted.flipped(DATA.holdout, 0.05, 10)
    data = dataclasses.replace(DATA, holdout=flipped)
    named = suspects(measured(data, models={"parent": parent}), "holdout")
    # Of 15 flips; the network is right on 97% of what it never saw.
    assert len(named & guilty) >= 10
    assert len(named - guilty) <= 2


def test_clean_labels_are_hardly_suspected(parent: nn.Module) -> None:
    found = measured(DATA, models={"parent": parent})
    assert found.sentence == "Hardly any label looks wrong."
    assert found.figures["issue_share"].value < 0.02
    assert found.figures["holdout_issue_share"].value < 0.02


def test_without_the_extra_the_section_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    found = measured(DATA)
    assert found.status == "not measured"
    assert found.sentence == "Wrong labels were not measured: install coppice[audit]."


def test_a_regression_has_no_classes_to_confuse() -> None:
    found = measured(dataclasses.replace(DATA, classes=()))
    assert (found.status, found.figures) == ("not measured", {})
    assert found.sentence == "Wrong labels are estimated for classes only."


def labelled(parent: nn.Module, *, stamped: bool) -> dataset.Production:
    """Serve 300 real scans, and label every second after showing the prediction.

    Whoever saw it confirms it where `stamped`; all others tell the truth. The scans have lost their
    right half, so that the model is often wrong.
    """
    rows = DATA.holdout
    halved = {"pixels": rows.inputs["pixels"] * (np.arange(8) < 4)}
    said = train.predict(parent, halved, task="multiclass")
    log, given = MemoryLog(), []
    for row in range(rows.rows):
        saw = row % 2 == 0
        truth = int(said[row].argmax()) if stamped and saw else int(rows.targets[row])
        asked = records.Prediction(
            request_id=f"r{row}",
            model="digits",
            version="digits:1",
            lane="stable",
            propensity=1.0,
            key_hash="",
            latency_seconds=0.0,
            inputs={"pixels": records.Tensor.of(halved["pixels"][[row]])},
            outputs={"scores": records.Tensor.of(said[[row]])},
        )
        log.append([records.seal(asked, source="test", now=float(row))])
        given.append(
            records.Feedback(
                request_id=f"r{row}",
                model="digits",
                labels=(truth,),
                labelled_at=0.0,
                source="human",
                annotator_hash="ada" if saw else "eve",
                saw_prediction=saw,
            )
        )
    return dataset.collect(log, given, DATA, TREE)


def test_rubber_stamped_labels_are_flagged(parent: nn.Module) -> None:
    production = labelled(parent, stamped=True)
    found = measured(DATA, production=production)
    assert found.figures["agreement_seen"].value == 1.0
    assert found.figures["agreement_unseen"].value < 0.8
    low = found.figures["agreement_gap"].low
    assert low is not None
    assert low > 0.1
    assert found.figures["agreement_gap_chance"].value < 1e-6
    assert "may only echo the model" in found.sentence
    assert "Annotator ada agreed with 150 of 150 predictions in sight." in found.sentence


def test_honest_labels_in_sight_of_the_prediction_are_not_flagged(parent: nn.Module) -> None:
    found = measured(DATA, production=labelled(parent, stamped=False))
    assert found.figures["agreement_gap_chance"].value > 0.05
    assert "echo" not in found.sentence
    assert "Annotator" not in found.sentence


def test_the_share_of_independent_labels_is_that_of_the_rows_learned_from(
    parent: nn.Module,
) -> None:
    production = labelled(parent, stamped=True)
    found = measured(DATA, production=production)
    assert found.figures["independent_share"].value == production.independent_share
    # Every second label was given blind; chance sends a quarter of either to the held-back part.
    assert 0.4 < found.figures["independent_share"].value < 0.6
    assert found.figures["seen_share"].value == 0.5
    assert "of the production labels learned from are independent" in found.sentence


def test_labels_that_were_all_given_in_sight_cannot_be_compared(parent: nn.Module) -> None:
    production = labelled(parent, stamped=True)
    seen = tuple(each for each in production.labellings if each.key.saw_prediction)
    found = measured(DATA, production=dataclasses.replace(production, labellings=seen))
    assert "agreement_gap" not in found.figures
    assert "No label was given blind" in found.sentence


def test_networks_trained_anew_find_flipped_labels_where_asked_for() -> None:
    flipped, guilty = planted.flipped(DATA.train, 0.05, 10)
    data = dataclasses.replace(DATA, train=flipped)
    found = measured(data, inspect={"label_folds": 3})
    named = suspects(found, "train")
    # The network is right on 95% of what it never saw, so it contradicts 24 of the 25.
    assert len(named & guilty) >= 19
    assert found.tables[0].rows[0][-1] == "the network itself, trained anew without them"
