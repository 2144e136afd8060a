from __future__ import annotations

import copy
import dataclasses
import functools

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from coppice import project
from retrain.evaluate import attribution, evaluation, section
from tests.support import digits, networks, subjects


@functools.cache
def found() -> section.Section:
    return attribution.measure(subjects.scans())


def test_identical_models_agree_exactly() -> None:
    subject = subjects.scans()
    twin = copy.deepcopy(subject.models["parent"])
    figures = attribution.measure(subjects.with_candidate(subject, twin)).figures
    assert figures["agreement"].value == figures["agreement"].low == 1.0
    assert figures["top_overlap"].value == 1.0


def test_the_candidate_agrees_less_than_the_null_control_and_both_more_than_chance() -> None:
    figures = found().figures
    assert 0.3 < figures["agreement"].value < figures["agreement_null"].value < 1.0
    gap = figures["agreement_shortfall"]
    assert gap.value == pytest.approx(figures["agreement_null"].value - figures["agreement"].value)
    assert "otherwise than its parent" in found().sentence


def test_an_untrained_candidate_agrees_far_less() -> None:
    subject = subjects.scans()
    torch.manual_seed(3)
    stranger = digits.build_model()
    figures = attribution.measure(subjects.with_candidate(subject, stranger)).figures
    assert figures["agreement"].value < found().figures["agreement"].value - 0.2


def test_two_methods_and_two_models_are_compared() -> None:
    rows = found().tables[1].rows
    assert [(row[0], row[1]) for row in rows] == [
        ("integrated gradients", "null control"),
        ("integrated gradients", "candidate"),
        ("input gradient", "null control"),
        ("input gradient", "candidate"),
    ]


def test_complexity_stands_side_by_side() -> None:
    table, ratio = found().tables[0], found().figures["parameter_ratio"]
    sizes = dict(zip(table.columns, table.rows[0], strict=True))
    assert ratio.value == float(sizes["candidate"] or 0) / float(sizes["dense parent"] or 1)
    assert ratio.value < 0.5


def test_the_rows_that_disagree_most_are_shown_beside_each_other() -> None:
    exemplars = found().exemplars
    assert len(exemplars) == attribution.MOST_EXEMPLARS
    # Input and two explanations of 8 x 8, with a white line between them.
    assert np.array(exemplars[0].pixels).shape == (8, 26)
    correlations = [float(each.caption.rsplit(" ", 1)[1]) for each in exemplars]
    assert correlations == sorted(correlations)
    assert correlations[0] < found().figures["agreement"].value


def test_no_exemplars_where_none_are_wanted() -> None:
    subject = subjects.with_inspect(subjects.scans(), exemplars=0)
    assert attribution.measure(subject).exemplars == ()


def test_of_tables_the_values_that_count_most_are_named() -> None:
    measured = attribution.measure(subjects.tumours())
    # The top three of 30 columns, for parent and candidate.
    assert len(measured.exemplars[0].values) == 6
    assert all(name.startswith("values[") for name in measured.exemplars[0].values)


def test_a_regression_is_explained_by_its_value() -> None:
    measured = attribution.measure(subjects.diabetes())
    assert measured.status == "measured"
    assert measured.figures["agreement_null"].value > 0.5


def test_of_tokens_only_the_complexity_is_told() -> None:
    split = networks.sequences(20)
    data = project.Data(train=split, validation=split, holdout=split, classes=("no", "yes"))
    model = networks.Transformer().eval()
    models: dict[evaluation.Column, nn.Module] = {"parent": model, "candidate": model}
    subject = subjects.subject_of(data, models, networks.Transformer, task="binary")
    measured = attribution.measure(subject)
    assert measured.figures["parameter_ratio"].value == 1.0
    assert "agreement" not in measured.figures
    assert "not compared" in measured.sentence


def test_without_a_null_control_the_figure_stands_alone() -> None:
    subject = subjects.scans()
    models: dict[evaluation.Column, nn.Module] = {
        "parent": subject.models["parent"],
        "candidate": subject.models["candidate"],
    }
    measured = attribution.measure(dataclasses.replace(subject, models=models))
    assert "agreement_null" not in measured.figures
    assert measured.figures["agreement"] == found().figures["agreement"]


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    estimate = attribution.bootstrap(values, confidence=0.95, draws=2000, seed=0)
    # Twice 1.96 standard errors of 1/20.
    assert estimate.high - estimate.low == pytest.approx(0.196, rel=0.1)


def test_nothing_is_left_behind_in_the_models() -> None:
    subject = subjects.scans()
    before = {name: copy.deepcopy(model.state_dict()) for name, model in subject.models.items()}
    attribution.measure(subject)
    for name, model in subject.models.items():
        after = model.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before[name].items())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_the_section_travels_through_json() -> None:
    text = msgspec.json.encode(found())
    assert msgspec.json.decode(text, type=section.Section) == found()
