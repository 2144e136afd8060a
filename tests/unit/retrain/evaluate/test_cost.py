from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from coppice import runtime, testing
from retrain import network, onnx_export
from retrain.evaluate import cost, evaluation, latency, section
from tests.support import digits, planted

DATA = digits.load_data()


def narrow() -> nn.Module:
    """Build the digits' network with half the channels."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 8, 10),
    )


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> section.Subject:
    folder = tmp_path_factory.mktemp("graphs")
    models: dict[evaluation.Column, nn.Module] = {
        "parent": network.build(digits.build_model, seed=0).eval(),
        "candidate": network.build(narrow, seed=0).eval(),
    }
    graphs: dict[str, runtime.Packed] = {}
    for name, model in models.items():
        graphs[name] = runtime.Packed(folder / f"{name}.onnx")
        onnx_export.export(model, DATA.validation, graphs[name].path, task="multiclass")
    return planted.subject(
        DATA,
        models={**models, "null": models["parent"]},
        graphs=graphs,
        seconds={"prune": 10.0, "recover": 30.0, "null control": 20.0, "evaluate": 99.0},
        inspect={"price_per_core_hour": 0.05},
    )


@pytest.fixture(scope="module")
def measured(subject: section.Subject) -> section.Section:
    return cost.measure(subject)


def timed(parent: float, candidate: float) -> latency.Latency:
    return latency.summarise([parent] * 9, [candidate] * 9)


def test_parameters_and_sizes_are_those_of_the_networks(measured: section.Section) -> None:
    # 8 filters of 3 x 3 with a bias each, then 128 x 10 weights and 10 biases.
    assert measured.figures["parameters"].value == 8 * 9 + 8 + 128 * 10 + 10
    assert measured.figures["weight_bytes"].value == 4 * 1370
    # 8 filters of 9 at 64 places, and the last layer.
    assert measured.figures["macs"].value == 64 * 8 * 9 + 1280
    assert measured.figures["graph_ratio"].value > 1.0


def test_every_column_has_its_figures_side_by_side(measured: section.Section) -> None:
    table = measured.tables[0]
    assert table.columns == ("what", "parent", "candidate", "null")
    lines: dict[Any, Any] = {row[0]: row[1:] for row in table.rows}
    # The null control has no graph, so nothing is known of its speed.
    assert lines["one row, ms"][2] is None
    assert lines["one row, ms"][0] > 0
    assert lines["memory to load and answer 32 rows, bytes"][1] > 0
    assert lines["price of a million predictions"][1] > 0


def test_speed_is_told_with_its_interval(measured: section.Section) -> None:
    gain = measured.figures["latency_gain"]
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low <= gain.value <= gain.high
    assert measured.figures["throughput"].value == pytest.approx(
        32 / measured.figures["batch_latency_seconds"].value
    )


def test_only_the_phases_of_the_pruning_are_to_be_paid_back(measured: section.Section) -> None:
    assert measured.figures["pruning_seconds"].value == 60.0


def test_without_graphs_the_networks_alone_are_counted(subject: section.Subject) -> None:
    found = cost.measure(planted.subject(DATA, models=subject.models))
    assert "latency_gain" not in found.figures
    assert found.figures["parameters_ratio"].value > 1.0


def test_energy_is_read_from_the_machines_counters(
    subject: section.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost.energy, "joules", lambda *_, **__: 0.002)
    found = cost.costs(subject, (), timer=cost.SYSTEM_CLOCK)
    figures = cost.figures(found, price=0.0, spent=0.0)
    assert figures["joules_per_million"].value == 2000.0
    assert "price_per_million" not in figures


def test_batches_that_take_too_long_are_not_raced(subject: section.Subject) -> None:
    class Slow(testing.ManualClock):
        def monotonic(self) -> float:
            self.advance(1.0)
            return super().monotonic()

    found = cost.costs(subject, (), timer=Slow())
    assert (found["candidate"].single, found["candidate"].seconds) == (None, None)


def test_a_million_predictions_of_a_millisecond_cost_a_thousand_core_seconds() -> None:
    # 1,000 s are 0.2778 h, at 0.36 an hour.
    assert cost.price_per_million(0.001, 0.36) == pytest.approx(0.1)
    assert cost.price_per_million(0.001, 0.0) is None
    assert cost.price_per_million(None, 0.36) is None


def test_the_pruning_is_paid_back_by_the_time_saved() -> None:
    # 60 s over 2 ms saved each time.
    assert cost.payback(60.0, timed(0.003, 0.001)) == pytest.approx(30_000)
    assert cost.payback(0.0, timed(0.003, 0.001)) is None
    assert cost.payback(60.0, None) is None


def test_a_candidate_that_is_not_faster_never_pays_back() -> None:
    assert cost.payback(60.0, timed(0.001, 0.001)) is None


def test_a_manager_reads_what_is_saved() -> None:
    found: cost.Costs = {
        "parent": cost.Cost(parameters=4000, seconds=0.002),
        "candidate": cost.Cost(parameters=1000, seconds=0.001, single=timed(0.002, 0.001)),
    }
    said = list(cost.sentences(found, price=0.36, spent=60.0))
    assert said == [
        "One prediction takes 1 ms, 2.00 times less.",
        "It has 4.0 times fewer parameters.",
        "The 60 s of the pruning are paid back after 60,000 predictions.",
        "A million predictions cost 0.1 instead of 0.2.",
        "Energy was not measured: this machine shows no counters.",
    ]


def test_a_manager_reads_that_nothing_is_saved() -> None:
    same = cost.Cost(parameters=4000, seconds=0.001)
    found: cost.Costs = {
        "parent": same,
        "candidate": dataclasses.replace(same, single=timed(0.001, 0.001), joules=0.002),
    }
    said = list(cost.sentences(found, price=0.0, spent=60.0))
    assert said == ["One prediction takes 1 ms, not shown to be less."]


def test_frozen_parameters_are_counted_too() -> None:
    model = nn.Linear(4, 2).requires_grad_(requires_grad=False)
    split = DATA.holdout
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), model)
    found = cost.costs(planted.subject(DATA, models={"parent": flat}), (), timer=cost.SYSTEM_CLOCK)
    # 64 x 4 + 4, then 4 x 2 + 2.
    assert found["parent"].parameters == 260 + 10
    assert torch.is_tensor(flat(torch.from_numpy(split.inputs["pixels"])))
