from __future__ import annotations

import copy
import dataclasses
import functools

import msgspec
import numpy as np
import torch
from torch import nn

from retrain import network, train
from retrain.evaluate import ablation, section
from tests.support import subjects


class Scanner(nn.Module):
    """A stem and two residual branches; either branch can be planted dead."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU())
        self.useful = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.dead = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(pixels)
        hidden = hidden + self.useful(hidden)
        hidden = hidden + self.dead(hidden)
        return self.head(hidden.flatten(1))  # type: ignore[no-any-return]


@functools.cache
def planted() -> section.Subject:
    """A candidate with a branch that never says anything, in a parent where it does."""
    subject = subjects.scans()
    model = network.build(Scanner, seed=0)
    plan = train.FitPlan(task="multiclass", epochs=6, learning_rate=1e-2)
    train.fit(model, subject.data.train, plan)
    dead = copy.deepcopy(model)
    assert isinstance(dead, Scanner)
    weight, bias = dead.dead.parameters()
    nn.init.zeros_(weight)
    nn.init.constant_(bias, -1.0)
    return dataclasses.replace(subject, models={"parent": model, "null": model, "candidate": dead})


@functools.cache
def found() -> section.Section:
    return ablation.measure(planted())


def row(part: str) -> dict[str, section.Cell]:
    table = found().tables[0]
    (values,) = [values for values in table.rows if values[0] == part]
    return dict(zip(table.columns, values, strict=True))


def test_a_dead_block_costs_exactly_nothing_and_could_go() -> None:
    assert row("dead")["drop"] == 0.0
    assert row("dead")["could go"] == "yes"
    # In the parent the same block has something to say.
    assert row("dead")["dense parent's drop"] != 0.0


def test_a_useful_block_costs_something_and_could_not() -> None:
    assert float(row("useful")["low"] or 0) > 0.0
    assert row("useful")["could go"] == ""


def test_what_carries_most_comes_first_and_is_named() -> None:
    drops = [float(values[3] or 0) for values in found().tables[0].rows]
    assert drops == sorted(drops, reverse=True)
    first = str(found().tables[0].rows[0][0])
    assert first in {"stem", "stem.0", "head"}
    assert repr(first) in found().sentence
    assert "'dead'" in found().sentence


def test_blocks_layers_and_channels_are_all_tried() -> None:
    kinds = {str(values[1]).split(" ")[0] for values in found().tables[0].rows}
    assert kinds == {"block", "layer", "channels"}
    assert found().figures["parts"].value == len(found().tables[0].rows)


def test_the_picture_shows_the_same_drops_in_points() -> None:
    bars = found().charts[0]
    assert bars.labels[0] == found().tables[0].rows[0][0]
    assert bars.series["candidate"][0] == (0.0, 100 * found().figures["largest_drop"].value)


def test_validation_rows_are_asked_and_the_holdout_is_not() -> None:
    subject = planted()
    empty = dataclasses.replace(subject.data, holdout=subject.data.holdout.take(np.arange(0)))
    blind = dataclasses.replace(subject, data=empty)
    assert ablation.measure(blind) == found()
    assert found().figures["rows"].value == subject.data.validation.rows


def test_nothing_is_left_behind_in_the_models() -> None:
    subject = subjects.scans()
    before = {name: copy.deepcopy(model.state_dict()) for name, model in subject.models.items()}
    ablation.measure(subject)
    for name, model in subject.models.items():
        after = model.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before[name].items())
        assert not any(part._forward_hooks for part in model.modules())


def test_a_parent_without_the_part_has_no_drop() -> None:
    subject = planted()
    other = subjects.with_candidate(subjects.scans(), subject.models["candidate"])
    table = ablation.measure(other).tables[0]
    drops = {str(values[0]): values[6] for values in table.rows}
    assert drops["dead"] is None


def test_regressions_and_tables_are_measured_too() -> None:
    measured = ablation.measure(subjects.diabetes())
    assert measured.status == "measured"
    assert measured.figures["largest_drop"].value > 0.0


def test_a_network_of_one_number_has_no_parts() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return (values * self.factor).sum(dim=1)

    subject = dataclasses.replace(
        subjects.diabetes(), models={"parent": Scale(), "candidate": Scale()}
    )
    assert ablation.measure(subject).status == "not measured"


def test_the_section_travels_through_json() -> None:
    text = msgspec.json.encode(found())
    assert msgspec.json.decode(text, type=section.Section) == found()


def drop(cost: float, low: float) -> ablation.Drop:
    return ablation.Drop("part", "layer", 1, drop=cost, low=low, high=cost + 0.1, parent=None)


def test_idle_is_what_costs_little_and_is_not_shown_to_cost_anything() -> None:
    assert drop(0.0, -0.1).idle(0.01)
    assert drop(0.01, -0.1).idle(0.01)
    assert not drop(0.02, -0.1).idle(0.01)
    # A small loss that is sure is one.
    assert not drop(0.005, 0.001).idle(0.01)


def test_more_is_allowed_where_the_gates_allow_more() -> None:
    subject = planted()
    tree = subject.own.settings
    kind = tree.gates.model_copy(update={"max_score_drop": 1.0})
    lenient = tree.model_copy(update={"gates": kind})
    own = dataclasses.replace(subject.own, settings=lenient)
    measured = ablation.measure(dataclasses.replace(subject, own=own))
    assert measured.figures["idle_parts"].value >= found().figures["idle_parts"].value
    assert "for 100.0 points or less" in measured.sentence


def test_a_part_is_taken_out_in_the_way_that_changes_least() -> None:
    # The dead branch given its own input would double what passes; silenced it changes nothing.
    assert row("dead")["drop"] == row("dead.0")["drop"] == 0.0


def test_a_deep_network_is_tried_in_its_largest_parts_only() -> None:
    deep = nn.Sequential(*[nn.Linear(30, 30) for _ in range(80)], nn.Linear(30, 2)).eval()
    subject = dataclasses.replace(
        subjects.tumours(), models={"parent": deep, "candidate": copy.deepcopy(deep)}
    )
    few = subjects.with_inspect(subject, section_gigamacs=1e-6)
    table = ablation.measure(few).tables[0]
    layers = [values for values in table.rows if str(values[1]).startswith("layer")]
    channels = [values for values in table.rows if values[1] == "channels"]
    assert len(layers) == len(channels) == ablation.MOST_PARTS
    assert len(ablation.measure(few).charts[0].labels) == ablation.MOST_BARS


def test_a_duplicated_block_makes_each_of_the_two_dispensable() -> None:
    class Twice(nn.Module):
        """The useful branch, twice over, each at half its strength."""

        def __init__(self, model: Scanner) -> None:
            super().__init__()
            self.stem, self.head = model.stem, model.head
            self.one, self.other = copy.deepcopy(model.useful), copy.deepcopy(model.useful)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            hidden = self.stem(pixels)
            hidden = hidden + 0.5 * self.one(hidden) + 0.5 * self.other(hidden)
            return self.head(hidden.flatten(1))  # type: ignore[no-any-return]

    model = planted().models["candidate"]
    assert isinstance(model, Scanner)
    measured = ablation.measure(subjects.with_candidate(planted(), Twice(model)))
    drops = {str(values[0]): float(values[3] or 0) for values in measured.tables[0].rows}
    assert drops["one"] == drops["other"]
    assert drops["one"] < float(row("useful")["drop"] or 0)
