"""The project: the user's own module, named `module` in coppice.toml, and what it must hold.

Two functions are the whole contract::

    def build_model() -> torch.nn.Module: ...      # the dense architecture, untrained
    def load_data() -> coppice.project.Data: ...   # train, validation and holdout

`build_model` must be repeatable: the surgery record is replayed on what it returns. The model takes
the inputs by name as keyword arguments, or, with one input, as its only positional argument.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from coppice import errors, labels, settings

Array = npt.NDArray[np.generic]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of data.

    Attributes
    ----------
    inputs
        Named arrays, rows first; the dtypes and row shapes are what the server will accept.
    targets
        Class indices (any integer dtype) or regression targets (float) [rows].
    slices
        For each slice family the name of each row's slice [rows], e.g. `{"pen": ["ink", ...]}`.
    """

    inputs: Mapping[str, Array]
    targets: Array
    slices: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.targets.shape[0])

    def take(self, index: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Split:
        """Return the rows that an index or a mask selects."""
        return Split(
            inputs={name: array[index] for name, array in self.inputs.items()},
            targets=self.targets[index],
            slices={name: array[index] for name, array in self.slices.items()},
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The three splits, and the class names in the order of the indices (empty: regression)."""

    train: Split
    validation: Split
    holdout: Split
    classes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A loaded project: its settings and the user's functions."""

    settings: settings.Settings
    build_model: Callable[[], Any]
    """Returns a fresh, untrained `torch.nn.Module`."""
    load_data: Callable[[], object]


def load(tree: settings.Settings) -> Project:
    """Import the user's module, its folder appended to the search path.

    Raises
    ------
    ProjectError
        The module is missing, raises on import, or lacks one of the two functions.
    """
    folder = str(tree.root)
    if folder not in sys.path:
        sys.path.append(folder)
    name = tree.project.module
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as cause:
        message = f"cannot import {name!r}: {cause}; is it in {folder}, with what it needs?"
        raise errors.ProjectError(message) from cause
    except Exception as cause:  # the user's code may raise anything
        message = f"{name!r} raised {type(cause).__name__} on import: {cause}"
        raise errors.ProjectError(message) from cause
    build_model, load_data = (_function(module, field) for field in ("build_model", "load_data"))
    return Project(settings=tree, build_model=build_model, load_data=load_data)


def _function(module: Any, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if not callable(function):
        message = f"{module.__name__!r} has no function {name}(); see `coppice init` for a template"
        raise errors.ProjectError(message)
    return function  # type: ignore[no-any-return]


def load_data(project: Project) -> Data:
    """Call the user's `load_data` and check what it returns.

    Raises
    ------
    ProjectError
        It raises, or the splits do not fit each other or the task; the message names the split.
    """
    try:
        data = project.load_data()
    except Exception as cause:  # the user's code may raise anything
        message = f"load_data() raised {type(cause).__name__}: {cause}"
        raise errors.ProjectError(message) from cause
    if not isinstance(data, Data):
        message = f"load_data() returned {type(data).__name__}, not coppice.project.Data"
        raise errors.ProjectError(message)
    for name in ("train", "validation", "holdout"):
        _check_split(name, getattr(data, name), data, project.settings.project.task)
    return data


def _check_split(name: str, split: Split, data: Data, task: labels.Task) -> None:
    problem = _rows_problem(split) or _targets_problem(split, data, task)
    if set(split.inputs) != set(data.train.inputs):
        problem = f"its inputs {sorted(split.inputs)} are not those of train"
    if problem:
        message = f"load_data(): the {name} split cannot be used: {problem}"
        raise errors.ProjectError(message)


def _rows_problem(split: Split) -> str | None:
    if split.targets.ndim != 1 or split.rows == 0:
        return f"targets have shape {split.targets.shape}, expected [rows] with at least one row"
    for name, array in {**split.inputs, **split.slices}.items():
        if array.shape[:1] != (split.rows,):
            return f"{name!r} has {array.shape[:1]} rows, targets have {split.rows}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name!r} holds NaN or infinite values"
    return None


def _targets_problem(split: Split, data: Data, task: labels.Task) -> str | None:
    if task == "regression":
        return None if np.isfinite(split.targets.astype(float)).all() else "a target is not finite"
    if len(data.classes) < 2:
        return "Data.classes must name at least two classes"
    if task == "binary" and len(data.classes) != 2:
        return f"the task is binary, but Data.classes names {len(data.classes)}"
    if split.targets.dtype.kind not in "iu":
        return f"targets have dtype {split.targets.dtype}, expected class indices"
    if int(split.targets.min()) < 0 or int(split.targets.max()) >= len(data.classes):
        return f"a target lies outside 0..{len(data.classes) - 1}"
    return None
