"""Chains of levels in one recipe, with real training between and after the cuts."""

from __future__ import annotations

import copy
import gc
import itertools
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from coppice import artifact, settings
from retrain import network, recovery, train, weights
from retrain.pruning import recipe, surgery
from tests.support import architectures

NETS = architectures.ARCHITECTURES
STEPS: dict[str, dict[str, Any]] = {
    "layer": {"level": "layer", "criterion": "block-influence", "amount": 0.6},
    "neuron": {"level": "neuron", "criterion": "magnitude", "amount": 0.5},
    "connection": {"level": "connection", "criterion": "taylor", "amount": 0.6},
}
ORDERS = list(itertools.permutations(STEPS))


class Pruned(NamedTuple):
    model: nn.Module
    record: surgery.Surgery
    net: architectures.Architecture


def course(net: architectures.Architecture, teacher: nn.Module, **fields: Any) -> recovery.Course:
    data = net.data()
    how = {"round_epochs": 1, "finetune_epochs": 1, "rounds": 2, "batch_norm_rows": 64, **fields}
    return recovery.Course(
        recipe=recipe.Recipe(**how),
        task=net.task,
        seed=0,
        section=settings.TrainSettings(),
        teacher=teacher,
        training=data.train,
        recovery=data.train,
    )


def chain(order: tuple[str, ...]) -> dict[str, Any]:
    first, *later = (STEPS[level] for level in order)
    return {**first, "then": tuple(recipe.Step(**step) for step in later)}


def pruned(name: str, **fields: Any) -> Pruned:
    net = NETS[name]
    teacher = net.model()
    model = copy.deepcopy(teacher)
    way = course(net, teacher, **fields)
    record = way.prune(model)
    way.recover(model)
    return Pruned(model, record, net)


def answers(net: architectures.Architecture, model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model, net.rows(32))


def rebuilt(given: Pruned, folder: Path) -> nn.Module:
    weights.save(given.model, folder / artifact.WEIGHTS)
    (folder / artifact.SURGERY).write_text(given.record.to_json(), encoding="utf-8")
    return weights.rebuild(given.net.build, folder)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("name", ["residual-cnn", "attention-block"])
def test_levels_can_follow_each_other_in_any_order(
    name: str, order: tuple[str, ...], tmp_path: Path
) -> None:
    given = pruned(name, **chain(order))
    assert given.record.removed
    assert given.record.cuts
    assert given.record.masks
    assert torch.equal(
        answers(given.net, given.model), answers(given.net, rebuilt(given, tmp_path))
    )


@pytest.mark.parametrize("schedule_", ["iterative", "gradual"])
@pytest.mark.parametrize("name", ["residual-cnn", "transformer", "depthwise-cnn"])
def test_a_chain_can_be_cut_in_rounds(name: str, schedule_: str, tmp_path: Path) -> None:
    given = pruned(name, **chain(("layer", "neuron", "connection")), schedule=schedule_)
    again = rebuilt(given, tmp_path)
    assert torch.equal(answers(given.net, given.model), answers(given.net, again))
    assert {name: int((again.get_parameter(name) == 0).sum()) for name in masked(given)} == {
        mask.tensor: mask.size - mask.kept for mask in given.record.masks
    }


def masked(given: Pruned) -> Iterator[str]:
    return (mask.tensor for mask in given.record.masks)


@pytest.mark.parametrize("order", [("connection", "neuron"), ("connection", "layer", "neuron")])
def test_zeros_outlive_later_cuts_and_all_training(order: tuple[str, ...]) -> None:
    given = pruned("residual-cnn", **chain(order), schedule="iterative")
    zeros = {name: int((given.model.get_parameter(name) == 0).sum()) for name in masked(given)}
    # 60% of every tensor went first; how many of these lay in channels that went later depends.
    assert all(zeros[mask.tensor] == mask.size - mask.kept for mask in given.record.masks)
    assert all(mask.kept < 0.7 * mask.size for mask in given.record.masks)


@pytest.mark.parametrize("level", ["layer", "neuron", "connection"])
@pytest.mark.parametrize("schedule_", ["one-shot", "iterative", "gradual"])
def test_rounds_end_at_the_amount_of_a_single_cut(level: str, schedule_: str) -> None:
    step = {**STEPS[level], "criterion": "magnitude"}
    given = pruned("residual-cnn", **step, schedule=schedule_, rounds=3)
    once = pruned("residual-cnn", **step)
    counts = [
        (
            [group.after for group in each.record.groups],
            [(mask.tensor, mask.kept) for mask in each.record.masks],
        )
        for each in (given, once)
    ]
    assert counts[0] == counts[1]


def test_the_zeros_of_an_artifact_are_the_same_bits(tmp_path: Path) -> None:
    given = pruned("mlp", **STEPS["connection"])
    again = rebuilt(given, tmp_path)
    assert {name: tensor.numpy().tobytes() for name, tensor in again.state_dict().items()} == {
        name: tensor.numpy().tobytes() for name, tensor in given.model.state_dict().items()
    }


def test_a_pruned_and_recovered_network_beats_one_that_guesses() -> None:
    given = pruned(
        "residual-cnn",
        **chain(("layer", "neuron", "connection")),
        finetune_epochs=6,
        distill_weight=0.0,
        learning_rate=1e-2,
    )
    score = train.score(given.model, given.net.data().holdout, given.net.task)
    # Three classes; the dense network was never trained, so all of it was learned with the zeros.
    assert score > 0.6


class Counts(NamedTuple):
    modules: int
    tensors: int


def alive() -> Counts:
    gc.collect()
    found = [type(each) for each in gc.get_objects()]
    return Counts(
        modules=sum(issubclass(kind, nn.Module) for kind in found),
        tensors=sum(issubclass(kind, torch.Tensor) for kind in found),
    )


def cycles(count: int) -> list[weakref.ref[nn.Module]]:
    how = chain(("layer", "neuron", "connection"))
    return [weakref.ref(pruned("residual-cnn", **how).model) for _ in range(count)]


def test_pruning_again_and_again_leaves_nothing_behind() -> None:
    cycles(3)  # whatever is made once is made in these
    before = alive()
    seen = cycles(20)
    assert alive() == before
    assert [reference() for reference in seen] == [None] * 20
