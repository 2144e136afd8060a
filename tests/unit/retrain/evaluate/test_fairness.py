from __future__ import annotations

import dataclasses
import sys

import msgspec
import numpy as np
import pytest
from fairlearn import metrics as judge

from coppice import project
from retrain.evaluate import answers, fairness, section
from tests.support import subjects


def asked(subject: section.Subject, *families: str) -> section.Subject:
    return subjects.with_inspect(subject, sensitive=families)


def sorted_by(subject: section.Subject, **families: np.ndarray) -> section.Subject:  # type: ignore[type-arg]
    """Return the subject with other slices on its holdout."""
    holdout = dataclasses.replace(subject.data.holdout, slices=families)
    return dataclasses.replace(subject, data=dataclasses.replace(subject.data, holdout=holdout))


def worse_for_large_ones() -> section.Subject:
    """Tumours by size, and a candidate that fails on a third of the large ones."""
    subject = subjects.tumours()
    size = subject.data.holdout.inputs["values"][:, 0]
    grouped = sorted_by(subject, size=np.where(size > 0.0, "large", "small"))
    harmed = subjects.Harmed(
        subject.models["null"], lambda rows: (rows[:, 0] > 0.0) & (rows[:, 1] > 0.3)
    )
    return asked(subjects.with_candidate(grouped, harmed), "size")


def test_nothing_is_guessed_where_nothing_is_declared() -> None:
    found = fairness.measure(subjects.tumours())
    assert found.status == "not measured"
    assert "no sensitive columns are declared" in found.sentence


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    found = fairness.measure(asked(subjects.tumours(), "sex"))
    assert found.status == "not measured"
    assert found.sentence == "Not measured: the holdout has no slices sex; it has: band."


def test_without_the_extra_the_section_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fairlearn", None)
    found = fairness.measure(asked(subjects.tumours(), "band"))
    assert found.status == "not measured"
    assert found.sentence == "Not measured: install coppice[audit]."


def test_a_single_group_cannot_be_compared() -> None:
    subject = sorted_by(subjects.tumours(), band=np.array(["old"] * 310 + ["young"] * 19))
    found = fairness.measure(asked(subject, "band"))
    assert found.status == "not measured"
    assert "two groups of 30 holdout rows" in found.sentence


def test_groups_of_few_rows_are_named_and_left_out() -> None:
    bands = np.array(["old"] * 150 + ["young"] * 160 + ["infant"] * 19)
    found = fairness.measure(asked(sorted_by(subjects.tumours(), band=bands), "band"))
    assert found.tables[1].title == "Groups of band; left out for few rows: infant (19 rows)"
    assert {row[0] for row in found.tables[1].rows} == {"old", "young"}


def test_rows_without_a_value_are_in_no_group() -> None:
    split = project.Split(
        inputs={}, targets=np.zeros(5), slices={"sex": np.array(["f", "", "m", "f", "m"])}
    )
    found = fairness.group_rows("sex", split, least=2)
    assert found.names == ("f", "m")
    assert found.member.tolist() == [0, -1, 1, 0, 1]
    assert found.labels.tolist() == ["f", "m", "f", "m"]


def test_the_metrics_are_those_of_fairlearn() -> None:
    subject = asked(subjects.tumours(), "band")
    found = fairness.measure(subject)
    holdout = subject.data.holdout
    given = answers.ask(subject, holdout)["candidate"].argmax(axis=1)
    band = holdout.slices["band"]
    selection = judge.demographic_parity_difference(holdout.targets, given, sensitive_features=band)
    odds = judge.equal_opportunity_difference(holdout.targets, given, sensitive_features=band)
    accuracy = judge.MetricFrame(
        metrics=judge.mean_prediction,
        y_true=holdout.targets,
        y_pred=(given == holdout.targets).astype(float),
        sensitive_features=band,
    ).difference()
    assert found.figures["band_selection_rate_gap"].value == pytest.approx(selection)
    assert found.figures["band_true_positive_rate_gap"].value == pytest.approx(odds)
    assert found.figures["band_score_gap"].value == pytest.approx(accuracy)


def test_a_pruning_that_fails_one_group_widens_the_gap() -> None:
    found = fairness.measure(worse_for_large_ones())
    rise = found.figures["gap_rise"]
    assert rise.low is not None
    # More than a third of the large ones are now answered wrongly, which shows beyond chance.
    assert rise.value > 0.2
    assert rise.low > 0.05
    assert "That the pruning widens the gap is shown." in found.sentence


def test_a_harmless_pruning_does_not() -> None:
    found = fairness.measure(asked(subjects.tumours(), "band"))
    rise = found.figures["gap_rise"]
    assert rise.low is not None
    assert rise.low <= 0.0
    assert "widens the gap is not shown" in found.sentence


def test_the_gap_is_counted_by_hand() -> None:
    groups = fairness.Groups(
        family="sex", names=("f", "m"), member=np.array([0, 0, 1, 1, -1]), small={}
    )
    scores = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    weights = np.array([[1.0] * 5, [1.0, 1.0, 0.0, 2.0, 1.0], [1.0, 1.0, 0.0, 0.0, 3.0]])
    # Means of f and m: 1 and 1/2; 1 and 0; and a draw without m, which leaves one group.
    assert fairness.gaps(groups, scores, weights).tolist() == [0.5, 1.0, 0.0]


def test_of_many_classes_the_one_whose_gap_widens_most_is_told() -> None:
    subject = subjects.scans()
    lead = subject.data.holdout.slices["pen"] == "lead"
    pens = np.where(lead & (subject.data.holdout.targets == 9), "", np.where(lead, "lead", "ink"))
    found = fairness.measure(asked(sorted_by(subject, pen=pens), "pen"))
    metrics = [str(row[0]) for row in found.tables[0].rows]
    assert metrics[0] == "score"
    assert metrics[2].startswith("true_positive_rate (class ")
    # Lead pens have no nine left, so that class cannot be compared.
    assert "(class 9)" not in metrics[2]


def test_every_model_stands_beside_the_candidate() -> None:
    found = fairness.measure(asked(subjects.tumours(), "band"))
    models = {row[2] for row in found.tables[1].rows}
    assert models == {"dense parent", "null control", "candidate"}
    assert list(found.charts[0].series) == ["dense parent", "null control", "candidate"]
    assert found.charts[0].labels == ("old", "young")


def test_a_regression_is_compared_by_score_and_mean_answer() -> None:
    found = fairness.measure(asked(subjects.diabetes(), "band"))
    assert [row[0] for row in found.tables[0].rows] == ["score", "mean_answer"]
    assert found.figures["band_mean_answer_gap"].better is None


def test_several_columns_share_the_chance_of_a_false_alarm() -> None:
    subject = subjects.tumours()
    band = subject.data.holdout.slices["band"]
    both = asked(sorted_by(subject, band=band, other=band), "band", "other")
    one = asked(sorted_by(subject, band=band), "band")
    harmed = subjects.Harmed(subject.models["null"], lambda rows: rows[:, 1] > 0.3)
    wide = fairness.measure(subjects.with_candidate(both, harmed)).figures["gap_rise"]
    narrow = fairness.measure(subjects.with_candidate(one, harmed)).figures["gap_rise"]
    assert wide.value == narrow.value
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low < narrow.low


def test_a_section_can_be_repeated_written_and_read() -> None:
    first, second = (fairness.measure(asked(subjects.tumours(), "band")) for _ in "ab")
    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first), type=section.Section) == first


def test_the_sentence_names_the_column_whose_gap_widens_most() -> None:
    subject = worse_for_large_ones()
    sizes = subject.data.holdout.slices["size"]
    bands = np.where(np.arange(len(sizes)) % 2 == 0, "young", "old")
    both = asked(sorted_by(subject, band=bands, size=sizes), "band", "size")
    found = fairness.measure(both)
    assert found.sentence.startswith("Between the groups of size the candidate's mean score")
    assert "the most of 2 sensitive columns" in found.sentence
    assert "sensitive columns" not in fairness.measure(subject).sentence


def test_a_column_without_two_groups_is_told_beside_the_others() -> None:
    subject = subjects.tumours()
    rows = subject.data.holdout.rows
    only = sorted_by(
        subject, band=subject.data.holdout.slices["band"], site=np.array(["north"] * rows)
    )
    found = fairness.measure(asked(only, "band", "site"))
    assert found.status == "measured"
    assert "1 more have fewer than two groups to compare." in found.sentence


def test_classes_with_few_rows_in_a_group_are_not_compared() -> None:
    subject = subjects.tumours()
    truth = subject.data.holdout.targets
    # All but nine of the malignant ones are in one group.
    rare = np.flatnonzero(truth == 0)[:9]
    bands = np.where(truth == 0, "old", np.where(np.arange(len(truth)) % 2 == 0, "young", "old"))
    bands[rare] = "young"
    found = fairness.measure(asked(sorted_by(subject, band=bands), "band"))
    assert [row[0] for row in found.tables[0].rows] == ["score"]


def test_the_null_control_says_what_training_alone_does() -> None:
    found = fairness.measure(worse_for_large_ones())
    (score, *_) = found.tables[0].rows
    title = found.tables[0].columns
    noise = score[title.index("null control minus dense parent")]
    change = score[title.index("candidate minus dense parent")]
    assert abs(float(str(noise))) < 0.02
    assert float(str(change)) > 0.2


def test_every_group_of_the_table_has_all_metrics() -> None:
    found = fairness.measure(asked(subjects.tumours(), "band"))
    by_group = found.tables[1]
    assert by_group.columns == (
        "group",
        "rows",
        "model",
        "score",
        "selection_rate (class benign)",
        "true_positive_rate (class benign)",
        "false_positive_rate (class benign)",
    )
    # Two groups under three models.
    assert len(by_group.rows) == 6
    assert sum(int(str(row[1])) for row in by_group.rows[::3]) == 329
