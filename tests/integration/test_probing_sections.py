"""Ablation, attribution, robustness and privacy on every kind of network: what all of them keep."""

from __future__ import annotations

import copy
import functools
import math

import msgspec
import pytest
import torch

from retrain.evaluate import ablation, attribution, privacy, robustness, section
from retrain.report import pictures
from tests.support import specimens

SECTIONS = {
    "ablation": ablation.measure,
    "attribution": attribution.measure,
    "robustness": robustness.measure,
    "privacy": privacy.measure,
}
SAYS_NOTHING = {("robustness", "transformer"), ("robustness", "attention by hand")}
"""Tokens cannot be moved a little; everything else is measured on every kind."""

pytestmark = [
    pytest.mark.parametrize("name", SECTIONS),
    pytest.mark.parametrize("kind", specimens.KINDS),
]


@functools.cache
def measured(name: str, kind: str) -> section.Section:
    return SECTIONS[name](specimens.subject(kind))


def test_it_is_measured_or_says_why_not(name: str, kind: str) -> None:
    found = measured(name, kind)
    expected = "not measured" if (name, kind) in SAYS_NOTHING else "measured"
    assert found.status == expected
    assert found.name == name
    assert found.sentence.endswith(".")
    assert bool(found.figures) == (expected == "measured")


def test_every_number_is_one_and_lies_within_its_interval(name: str, kind: str) -> None:
    for figure in measured(name, kind).figures.values():
        assert math.isfinite(figure.value)
        assert figure.low is None or figure.low <= figure.value + 1e-12
        assert figure.high is None or figure.high >= figure.value - 1e-12


def test_every_row_of_a_table_has_a_cell_for_each_column(name: str, kind: str) -> None:
    for table in measured(name, kind).tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_every_chart_can_be_drawn(name: str, kind: str) -> None:
    for place, chart in enumerate(measured(name, kind).charts):
        assert pictures.chart(chart, f"place{place}").startswith("<svg")


def test_every_picture_is_grey_between_black_and_white(name: str, kind: str) -> None:
    for exemplar in measured(name, kind).exemplars:
        assert bool(exemplar.pixels) != bool(exemplar.values)
        assert all(0.0 <= value <= 1.0 for line in exemplar.pixels for value in line)
        assert len({len(line) for line in exemplar.pixels}) <= 1


def test_models_are_as_they_were_and_say_the_same_again(name: str, kind: str) -> None:
    models = specimens.subject(kind).models.values()
    before = [copy.deepcopy(model.state_dict()) for model in models]
    text = msgspec.json.encode(SECTIONS[name](specimens.subject(kind)))
    assert msgspec.json.decode(text, type=section.Section) == measured(name, kind)
    for model, state in zip(models, before, strict=True):
        after = model.state_dict()
        assert list(after) == list(state)
        assert all(torch.equal(after[key], value) for key, value in state.items())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert all(parameter.grad is None for parameter in model.parameters())
        hooks = [(part._forward_hooks, part._forward_pre_hooks) for part in model.modules()]
        assert not any(first or second for first, second in hooks)
        assert not model.training
