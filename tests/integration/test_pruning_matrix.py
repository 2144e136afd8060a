"""Every level with every criterion on every kind of network: it works, or it is refused as listed.

Where removal is exact, the pruned network answers like the dense one with the same parts silent.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import torch
from torch import nn

from coppice import errors, runtime
from retrain import network, onnx_export, train
from retrain.evaluate import removal
from retrain.pruning import recipe, schedule, surgery
from tests.support import architectures, matrix

AMOUNTS = {"neuron": 0.5, "layer": 0.6, "connection": 0.5}
WORKS = [cell for cell in matrix.cells() if matrix.refusal(cell) is None]
REFUSED = [cell for cell in matrix.cells() if matrix.refusal(cell) is not None]
SEES_CHANNELS = ("transformer", "attention-block")
"""Their norms over channels see how many there are, so cutting the width they norm is not exact."""


class Pruned(NamedTuple):
    dense: nn.Module
    """As it was right before the cut, trained sparse where the criterion asks for it."""
    model: nn.Module
    record: surgery.Surgery


def name_of(cell: matrix.Cell) -> str:
    return "-".join(cell)


def prune(cell: matrix.Cell) -> Pruned:
    net = architectures.ARCHITECTURES[cell.network]
    split, model = net.data().train, net.model()
    trained: list[dict[str, torch.Tensor]] = []

    def tune(module: nn.Module, epochs: int, **how: Any) -> None:
        plan = train.FitPlan(task=net.task, epochs=epochs, batch_size=64, **how)
        train.fit(module, split, plan)
        trained.append(copy.deepcopy(module.state_dict()))

    plan = recipe.Recipe(
        level=cell.level,
        criterion=cell.criterion,
        amount=AMOUNTS[cell.level],
        align=4,
        batch_norm_rows=64,
    )
    record = schedule.prune(model, split, plan, task=net.task, seed=0, tune=tune)
    dense = surgery.swap(net.model(), record)
    dense.load_state_dict([dense.state_dict(), *trained][-1])
    return Pruned(dense, model, surgery.Surgery.from_json(record.to_json()))


def answers(model: nn.Module, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model, rows)


def silent(given: Pruned, level: str) -> contextlib.AbstractContextManager[nn.Module]:
    """Take out of the dense network what was removed, in another way than by cutting."""
    return {"neuron": masked, "layer": unhooked, "connection": zeroed}[level](given)


@contextlib.contextmanager
def masked(given: Pruned) -> Iterator[nn.Module]:
    model = copy.deepcopy(given.dense)
    model.load_state_dict(surgery.masked(model.state_dict(), given.record))
    yield model


@contextlib.contextmanager
def unhooked(given: Pruned) -> Iterator[nn.Module]:
    with contextlib.ExitStack() as stack:
        for gone in given.record.removed:
            stack.enter_context(removal.without(given.dense, gone.module, gone.leaves))
        yield given.dense


@contextlib.contextmanager
def zeroed(given: Pruned) -> Iterator[nn.Module]:
    model = copy.deepcopy(given.dense)
    with torch.no_grad():
        for mask in given.record.masks:
            weight = model.get_parameter(mask.tensor)
            weight.mul_(given.model.get_parameter(mask.tensor) != 0)
    yield model


@pytest.mark.parametrize("cell", WORKS, ids=name_of)
def test_it_works(cell: matrix.Cell) -> None:
    net = architectures.ARCHITECTURES[cell.network]
    given, rows = prune(cell), net.rows(16)
    assert not given.record.changes_nothing
    # On a network with other weights the record gives the same structure, and with the pruned
    # network's weights the same answers, bit for bit.
    fresh = surgery.replay(net.model(seed=1), given.record)
    fresh.load_state_dict(given.model.state_dict())
    assert torch.equal(answers(fresh, rows), answers(given.model, rows))
    # BatchNorm statistics were estimated again, so the dense weights are cut once more.
    again = msgspec.structs.replace(given.record, swapped=())
    cut = surgery.replay(copy.deepcopy(given.dense), again)
    with silent(given, cell.level) as reference:
        gap = float((answers(with_zeros(cut, given), rows) - answers(reference, rows)).abs().max())
    assert gap <= 1e-5 or (cell.level == "neuron" and cell.network in SEES_CHANNELS)


def with_zeros(cut: nn.Module, given: Pruned) -> nn.Module:
    """Set what the record's masks name to the pruned network's own weights."""
    with torch.no_grad():
        for mask in given.record.masks:
            cut.get_parameter(mask.tensor).copy_(given.model.get_parameter(mask.tensor))
    return cut


@pytest.mark.parametrize("cell", REFUSED, ids=name_of)
def test_it_is_refused_with_the_reason(cell: matrix.Cell) -> None:
    expected = matrix.refusal(cell)
    assert expected is not None
    with pytest.raises(errors.PruningError) as caught:
        prune(cell)
    assert expected.says in str(caught.value)


STEPS = {
    "layer": recipe.Step(level="layer", criterion="magnitude", amount=0.6),
    "neuron": recipe.Step(level="neuron", criterion="magnitude", amount=0.5, align=4),
    "connection": recipe.Step(level="connection", criterion="magnitude", amount=0.5),
}


def chained(name: str) -> recipe.Recipe:
    """Return a recipe with every level that a network takes."""
    levels = ("layer", "neuron", "connection")
    first, *later = (
        level for level in levels if not matrix.refusal(matrix.Cell(level, "magnitude", name))
    )
    fields = dataclasses.asdict(STEPS[first])
    return recipe.Recipe(**fields, then=tuple(STEPS[level] for level in later))


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_what_is_served_answers_like_the_pruned_network(name: str, tmp_path: Path) -> None:
    net, path = architectures.ARCHITECTURES[name], tmp_path / "model.onnx"
    model, split = net.model(), net.data().holdout
    schedule.prune(model, net.data().train, chained(name), task=net.task, seed=0)
    onnx_export.export(model, split, path, task=net.task)
    onnx_export.check_parity(model, runtime.load(runtime.Packed(path)), split, task=net.task)


def test_the_page_shows_the_same_table() -> None:
    text = matrix.PAGE.read_text(encoding="utf-8")
    assert matrix.written(text) == text, "run python -m tests.support.matrix"
