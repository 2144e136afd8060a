"""The sections that compare answers, on every kind of project: none fails, none says nonsense."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from coppice import labels, project
from retrain import dataset, network
from retrain.evaluate import evaluation, exemplars, fairness, found_slices, offline, section
from tests.support import networks, subjects

MEASURES = {
    "metrics": offline.measure,
    "slices": found_slices.measure,
    "fairness": fairness.measure,
    "exemplars": exemplars.measure,
}


@dataclasses.dataclass(frozen=True)
class Kind:
    rows: Callable[[int, int], project.Split]
    factory: Callable[[], nn.Module]
    task: labels.Task
    classes: tuple[str, ...]


def convolutional() -> nn.Module:
    return networks.depthwise()


def regressor() -> nn.Module:
    return networks.mlp(6, 1)


KINDS = {
    "image": Kind(networks.rows, convolutional, "multiclass", ("a", "b", "c")),
    "table": Kind(networks.vectors, networks.mlp, "binary", ("no", "yes")),
    "tokens": Kind(networks.sequences, networks.Transformer, "binary", ("low", "high")),
    "two inputs": Kind(networks.pairs, networks.TwoInputs, "binary", ("no", "yes")),
    "regression": Kind(networks.amounts, regressor, "regression", ()),
}


def marked(split: project.Split) -> project.Split:
    """Return the rows with a slice family of two values and a gap."""
    names = np.array(["north", "south", ""])[np.arange(split.rows) % 3]
    return dataclasses.replace(split, slices={"region": names})


def disturbed(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy whose weights were shaken a little, as any retraining does."""
    copied = copy.deepcopy(model)
    with torch.no_grad(), network.seeded(seed):
        for parameter in copied.parameters():
            parameter.add_(0.05 * parameter.abs().mean() * torch.randn_like(parameter))
    return copied.eval()


def subject_of(kind: Kind, holdout_rows: int = 200) -> section.Subject:
    data = project.Data(
        train=marked(kind.rows(128, 1)),
        validation=marked(kind.rows(32, 2)),
        holdout=marked(kind.rows(holdout_rows, 3)),
        classes=kind.classes,
    )
    parent = network.build(kind.factory, seed=0).eval()
    models: dict[evaluation.Column, nn.Module] = {
        "parent": parent,
        "null": disturbed(parent, 1),
        "candidate": disturbed(parent, 2),
    }
    scale = 50.0 if kind.task == "regression" else 1.0
    return subjects.subject_of(
        data,
        models,
        kind.factory,
        task=kind.task,
        scale=scale,
        inspect={"sensitive": ["region"], "draws": 100},
    )


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def subject(kind: Kind) -> section.Subject:
    return subject_of(kind)


@pytest.fixture(scope="module", params=MEASURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(subject: section.Subject, name: str) -> section.Section:
    return MEASURES[name](subject)


def numbers(found: section.Section) -> list[float]:
    figures = [
        value
        for figure in found.figures.values()
        for value in (figure.value, figure.low, figure.high)
        if value is not None
    ]
    cells = [
        cell
        for table in found.tables
        for row in table.rows
        for cell in row
        if isinstance(cell, float)
    ]
    points = [
        value
        for chart in found.charts
        for series in chart.series.values()
        for point in series
        for value in point
    ]
    return [*figures, *cells, *points]


def test_it_is_measured_under_its_own_name(found: section.Section, name: str) -> None:
    assert found.status == "measured"
    assert found.name == name
    assert found.sentence.endswith(".")


def test_every_number_is_finite(found: section.Section) -> None:
    assert all(math.isfinite(number) for number in numbers(found))


def test_every_row_of_a_table_has_all_its_columns(found: section.Section) -> None:
    for table in found.tables:
        assert {len(row) for row in table.rows} <= {len(table.columns)}


def test_every_place_of_a_bar_has_a_label(found: section.Section) -> None:
    bars = [chart for chart in found.charts if chart.kind == "bars"]
    for chart in bars:
        places = {x for series in chart.series.values() for x, _ in series}
        assert places <= set(range(len(chart.labels)))


def test_intervals_hold_their_values(found: section.Section) -> None:
    for key, figure in found.figures.items():
        if figure.low is not None and figure.high is not None:
            assert figure.low <= figure.value <= figure.high, key


def test_it_survives_being_written_to_a_card(found: section.Section) -> None:
    assert msgspec.json.decode(msgspec.json.encode(found), type=section.Section) == found


def test_a_candidate_that_is_its_parent_has_lost_nothing(kind: Kind) -> None:
    subject = subject_of(kind)
    same = subject.models["parent"]
    models: dict[evaluation.Column, nn.Module] = {
        "parent": same,
        "null": same,
        "candidate": same,
    }
    twin = dataclasses.replace(subject, models=models)
    metrics = offline.measure(twin)
    changes = [figure.value for key, figure in metrics.figures.items() if "change" in key]
    assert set(changes) == {0.0}
    assert found_slices.measure(twin).figures["found_slices"].value == 0.0
    assert fairness.measure(twin).figures["gap_rise"].value == 0.0
    rows = exemplars.measure(twin)
    assert rows.figures["disagreement"].value == 0.0
    assert rows.exemplars == ()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_holdout_rows_is_no_reason_to_fail(kind: Kind, rows: int) -> None:
    tiny = subject_of(kind, holdout_rows=rows)
    sections = {name: measure(tiny) for name, measure in MEASURES.items()}
    assert sections["fairness"].status == "not measured"
    assert sections["metrics"].status == "measured"
    assert sections["slices"].figures["found_slices"].value == 0.0
    assert all(math.isfinite(number) for each in sections.values() for number in numbers(each))


def test_a_holdout_of_one_class_is_no_reason_to_fail() -> None:
    subject = subject_of(KINDS["table"])
    holdout = subject.data.holdout.take(subject.data.holdout.targets == 1)
    data = dataclasses.replace(subject.data, holdout=holdout)
    one = dataclasses.replace(subject, data=data)
    sections = {name: measure(one) for name, measure in MEASURES.items()}
    # There is no curve without a second class.
    assert sections["metrics"].figures["auroc"].value == 0.5
    assert all(math.isfinite(number) for each in sections.values() for number in numbers(each))


def test_production_rows_are_judged_beside_the_holdout() -> None:
    kind = KINDS["image"]
    subject = subject_of(kind)
    empty = subject.data.train.take(np.arange(0))
    production = dataset.Production(older=empty, recent=empty, held_back=marked(kind.rows(60, 9)))
    both = dataclasses.replace(subject, production=production)
    metrics, slices = offline.measure(both), found_slices.measure(both)
    assert {key for key in metrics.figures if key.startswith("production_accuracy")} == {
        "production_accuracy",
        "production_accuracy_change_parent",
        "production_accuracy_change_null",
    }
    assert "production_slices_open" in slices.figures
