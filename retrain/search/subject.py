"""What is searched: a dense model, its data, the grounds to choose widths on, and the recipe."""

from __future__ import annotations

import contextlib
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

from coppice import labels, project
from retrain.pruning import groups, recipe, surgery
from retrain.search import chain, grounds, widths


class Shape(NamedTuple):
    """What a pruned model is like: the number of its ground, and the units that stay of groups."""

    ground: int
    kept: widths.Widths


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A dense model and all that its search needs.

    Attributes
    ----------
    model
        The dense parent, trained, in evaluation mode; never changed.
    grounds
        What widths are chosen on: the model without the first blocks of one order, none first.
    chain
        The recipe around what is chosen.
    data
        The training split to learn and score from, the validation split to measure the damage on.
    task, scale, seed
        Of the project.
    key
        What every finding about this model follows from, beside what it names itself.
    """

    model: nn.Module
    grounds: tuple[grounds.Ground, ...]
    chain: chain.Chain
    data: project.Data
    task: labels.Task
    scale: float
    seed: int
    key: Mapping[str, Any]

    @property
    def training(self) -> project.Split:
        """Rows to learn and score from."""
        return self.data.train

    @property
    def validation(self) -> project.Split:
        """Rows to measure the damage on."""
        return self.data.validation

    @property
    def base(self) -> recipe.Recipe:
        """The recipe that was given."""
        return self.chain.base

    @property
    def align(self) -> int:
        """Channel counts that remain are multiples of this."""
        return self.chain.step.align

    @property
    def units(self) -> dict[str, int]:
        """How many units each group has before the search."""
        return {group.name: group.units for ground in self.grounds for group in ground.coupled}

    def asking(self) -> contextlib.AbstractContextManager[object]:
        """Let models answer in the recipe's own precision inside a block."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.base.precision == "bf16")

    def copy(self) -> nn.Module:
        """Return a copy of the dense model that may be changed."""
        return copy.deepcopy(self.model).eval()

    def structure(self, shape: Shape) -> Structure:
        """Return a model of this shape whose weights mean nothing: the first units stay."""
        ground = self.grounds[shape.ground]
        chosen = [
            (group, groups.choose(group, -torch.arange(float(group.units)), shape.kept[group.name]))
            for group in ground.coupled
            if group.name in shape.kept
        ]
        record = surgery.plan(ground.ready, chosen)
        model = surgery.replay(copy.deepcopy(ground.ready), record)
        return Structure(shape.ground, model, record)

    def recipe_for(self, shape: Shape, **changes: Any) -> recipe.Recipe:
        """Return the whole recipe that leaves this shape."""
        ground = self.grounds[shape.ground]
        amounts = widths.amounts(ground.coupled, shape.kept)
        return self.chain.filled(ground.out, amounts, **changes)


class Structure(NamedTuple):
    """A model of a chosen shape, and the record that made it of its ground's prepared one."""

    ground: int
    model: nn.Module
    record: surgery.Surgery


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
