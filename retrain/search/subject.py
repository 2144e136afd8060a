"""What is searched: a dense model, its data, its groups, and the recipe around its widths."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn

from coppice import errors, labels, project
from retrain.pruning import groups, jobs, recipe, surgery, trial, units
from retrain.search import widths


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A dense model and all that its search needs.

    Attributes
    ----------
    model
        The dense parent, trained, in evaluation mode; never changed.
    ready
        The same, prepared to be cut: attention with free widths inside.
    coupled
        Groups of `ready` whose cut the model's own code can follow.
    base
        The recipe whose `amounts` the search chooses.
    training, validation
        Rows to learn and score from, and rows to measure the damage on.
    task, scale, classes, seed
        Of the project.
    key
        What every finding about this model follows from, beside what it names itself.
    """

    model: nn.Module
    ready: nn.Module
    coupled: tuple[groups.CoupledGroup, ...]
    base: recipe.Recipe
    training: project.Split
    validation: project.Split
    task: labels.Task
    scale: float
    classes: tuple[str, ...]
    seed: int
    key: Mapping[str, Any]

    def copy(self) -> nn.Module:
        """Return a copy of the dense model that may be changed."""
        return copy.deepcopy(self.model).eval()

    def structure(self, kept: widths.Widths) -> Structure:
        """Return a model of these widths whose weights mean nothing: the first units stay."""
        chosen = [
            (group, groups.choose(group, -torch.arange(float(group.units)), kept[group.name]))
            for group in self.coupled
            if group.name in kept
        ]
        record = surgery.plan(self.ready, chosen)
        return Structure(surgery.replay(copy.deepcopy(self.ready), record), record)

    def recipe_for(self, kept: widths.Widths, **changes: Any) -> recipe.Recipe:
        """Return the base recipe with the amounts that leave these widths."""
        amounts = widths.amounts(self.coupled, kept)
        return dataclasses.replace(self.base, amount=0.0, amounts=amounts, scope="local", **changes)


class Structure(NamedTuple):
    """A model of chosen widths, and the record that made it of the prepared one."""

    model: nn.Module
    record: surgery.Surgery


def check(base: recipe.Recipe) -> None:
    """Refuse a recipe whose widths cannot be searched.

    Raises
    ------
    PruningError
        It does not cut channels, or goes on with another level.
    """
    if base.level != "neuron" or base.then:
        levels = " then ".join(step.level for step in base.steps)
        message = (
            f"the search chooses widths, and this recipe cuts {levels}; give it a recipe of level "
            "neuron alone, and put the other levels behind what it finds"
        )
        raise errors.PruningError(message)


def couple(
    ready: nn.Module, training: project.Split, base: recipe.Recipe
) -> tuple[groups.CoupledGroup, ...]:
    """Find the groups of a model, and leave out those that its own code cannot lose channels of.

    Parameters
    ----------
    ready
        Prepared to be cut.

    Raises
    ------
    PruningError
        Nothing of the network can be removed.
    """
    found = units.couple(ready, training, base.inside)
    narrow = [
        (group, groups.choose(group, torch.zeros(group.units), widths.step(group, base.align)))
        for group in found.groups
    ]
    record = trial.workable(ready, jobs.example(training), narrow)
    stuck = {whole.name for whole in record.whole}
    free = tuple(
        group
        for group in found.groups
        if group.name not in stuck and widths.step(group, base.align) < group.units
    )
    if not free:
        reasons = [f"{whole.name!r}: {whole.reason}" for whole in (*found.whole, *record.whole)]
        reasons += [
            f"{group.name!r} has {group.units} units, no more than one step"
            for group in found.groups
            if group.name not in stuck
        ]
        message = "no width of this network can be chosen; " + "; ".join(reasons)
        raise errors.PruningError(message)
    return free


def spread(split: project.Split, rows: int) -> project.Split:
    """Return at most so many rows, evenly spaced."""
    if split.rows <= rows:
        return split
    return split.take(np.linspace(0, split.rows - 1, rows).astype(np.int64))


def digest(model: nn.Module) -> str:
    """Return the digest of a model's weights."""
    whole = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        whole.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        whole.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return whole.hexdigest()


def structure_digest(model: nn.Module, source: str) -> str:
    """Return the digest of what a model computes, whatever its weights are.

    Two models have the same if they come of the same source, hold the same kinds of modules with
    the same settings, and tensors of the same shapes under the same names.
    """
    told = {
        "source": source,
        "modules": [
            (name, type(module).__name__, module.extra_repr())
            for name, module in model.named_modules()
        ],
        "tensors": [
            (name, list(tensor.shape), str(tensor.dtype))
            for name, tensor in model.state_dict().items()
        ],
    }
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def source_digest(factory: Callable[[], object], split: project.Split) -> str:
    """Return the digest of the file that a factory stands in, and of the rows that it takes."""
    try:
        name = inspect.getsourcefile(factory)
    except TypeError:
        name = None
    content = Path(name).read_bytes() if name is not None and Path(name).is_file() else b"-"
    shapes: Mapping[str, tuple[str, ...]] = {
        name: (str(array.dtype), *map(str, array.shape[1:])) for name, array in split.inputs.items()
    }
    return hashlib.sha256(content + msgspec.json.encode(shapes)).hexdigest()
