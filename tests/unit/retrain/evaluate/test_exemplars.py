from __future__ import annotations

import functools

import msgspec
import numpy as np
import pytest

from coppice import labels
from retrain.evaluate import answers, evaluation, exemplars, section
from tests.support import subjects


@functools.cache
def scans() -> section.Section:
    return exemplars.measure(subjects.scans())


def test_the_rows_that_differ_are_counted_against_the_noise_of_training() -> None:
    subject, found = subjects.scans(), scans()
    asked = answers.ask(subject, subject.data.holdout)
    named = {column: given.argmax(axis=1) for column, given in asked.items()}
    own = (named["candidate"] != named["parent"]).mean()
    noise = (named["null"] != named["parent"]).mean()
    assert found.figures["disagreement"].value == pytest.approx(own)
    assert found.figures["disagreement_null"].value == pytest.approx(noise)
    assert found.figures["disagreement_excess"].value == pytest.approx(own - noise)


def test_a_pruned_model_forgets_more_than_a_trained_one() -> None:
    excess = scans().figures["disagreement_excess"]
    assert excess.low is not None
    assert excess.low > 0
    assert "more than training alone explains" in scans().sentence


def test_the_null_control_in_the_candidates_place_shows_no_excess() -> None:
    subject = subjects.scans()
    found = exemplars.measure(subjects.with_candidate(subject, subject.models["null"]))
    assert found.figures["disagreement_excess"].value == 0.0
    assert "not shown to be more" in found.sentence


def test_who_is_right_where_they_differ_adds_up() -> None:
    found = scans()
    (first, *_) = found.tables[0].rows
    assert first[:2] == ("dense parent", "candidate")
    assert first[2] == sum(int(str(count)) for count in first[6:])
    assert found.figures["newly_wrong"].value == first[6]
    assert found.figures["newly_right"].value == first[7]


def test_twenty_pictures_are_shown_of_rows_that_the_parent_knew() -> None:
    found = scans()
    assert len(found.exemplars) == 20
    for each in found.exemplars:
        assert np.array(each.pixels).shape == (8, 8)
        truth = each.caption.split("truth ")[1][0]
        assert f"dense parent {truth} (" in each.caption
        assert f"candidate {truth} (" not in each.caption


def test_fewer_are_shown_on_request_and_none_where_data_must_stay() -> None:
    few = exemplars.measure(subjects.with_inspect(subjects.scans(), exemplars=3))
    none = exemplars.measure(subjects.with_inspect(subjects.scans(), exemplars=0))
    assert few.exemplars == scans().exemplars[:3]
    assert none.exemplars == ()
    assert none.figures == scans().figures


def test_the_most_harmed_come_first() -> None:
    rules = evaluation.Rules(task="binary", classes=("no", "yes"))
    asked: dict[evaluation.Column, np.ndarray] = {  # type: ignore[type-arg]
        "parent": np.array([[0.9, 0.1], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]]),
        "candidate": np.array([[0.4, 0.6], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8]]),
    }
    truth = np.zeros(4)
    # log(0.9 / 0.4) = 0.8 and log(0.6 / 0.1) = 1.8; the third is still right, the last never was.
    assert exemplars.worst(asked, truth, rules) == [1, 0]


def test_rows_that_populations_answer_differently_lead() -> None:
    rules = evaluation.Rules(task="binary", classes=("no", "yes"))
    asked: dict[evaluation.Column, np.ndarray] = {  # type: ignore[type-arg]
        "parent": np.array([[0.9, 0.1], [0.6, 0.4]]),
        "candidate": np.array([[0.4, 0.6], [0.1, 0.9]]),
    }
    first = np.array([True, False])
    assert exemplars.worst(asked, np.zeros(2), rules, first=first) == [0, 1]


def test_a_table_shows_values_and_a_regression_its_answers() -> None:
    subject = subjects.diabetes()
    found = exemplars.measure(subject)
    shown = found.exemplars[0]
    assert shown.pixels == ()
    assert "values[0]" in {name for each in found.exemplars for name in each.values}
    holdout = subject.data.holdout
    asked = answers.ask(subject, holdout)
    worst = exemplars.worst(asked, answers.targets(holdout), subject.rules)[0]
    assert shown.caption.startswith(f"row {worst}: truth {holdout.targets[worst]:.4g}; dense")


def test_populations_are_grown_only_where_asked() -> None:
    assert "pie" not in scans().figures
    subject = subjects.with_inspect(subjects.scans(), exemplar_seeds=4)
    found = exemplars.measure(subject)
    pie, noise = found.figures["pie"], found.figures["pie_noise"]
    assert pie.low is not None
    # What most of four prunings answer differently stands out from what training changes.
    assert pie.low > noise.value
    assert "Over 4 seeds on both sides" in found.sentence


def test_exemplars_of_pruning_are_hard_for_unpruned_models_too() -> None:
    subject = subjects.with_inspect(subjects.scans(), exemplar_seeds=4)
    rows = exemplars.measure(subject).tables[1].rows
    scores = {row[:2]: row[3] for row in rows}
    on, off = scores["null controls", "on these rows"], scores["null controls", "on the others"]
    # As Hooker and others found on ImageNet.
    assert float(str(on)) < float(str(off))


def test_a_handful_of_seeds_has_no_noise_to_tell() -> None:
    subject = subjects.with_inspect(subjects.tumours(), exemplar_seeds=1)
    found = exemplars.measure(subject)
    assert "pie_noise" not in found.figures
    # Not one row differs, so there is no score on these rows.
    assert found.tables[1].rows[0][2:] == (0, None)


def test_the_picture_compares_candidate_and_null_control() -> None:
    (chart,) = scans().charts
    assert list(chart.series) == ["candidate", "null control"]
    assert len(chart.labels) == 3


def test_regressions_differ_beyond_a_tenth_of_the_scale() -> None:
    subject = subjects.diabetes()
    found = exemplars.measure(subject)
    asked = answers.ask(subject, subject.data.holdout)
    apart = np.abs(asked["candidate"] - asked["parent"]) / subject.rules.scale
    expected = (np.minimum(apart, 1.0) > labels.DISTANT).mean()
    assert found.figures["disagreement"].value == pytest.approx(expected)
    assert "the parent is nearer on" in found.sentence


def test_a_section_can_be_repeated_written_and_read() -> None:
    assert exemplars.measure(subjects.scans()) == scans()
    assert msgspec.json.decode(msgspec.json.encode(scans()), type=section.Section) == scans()
