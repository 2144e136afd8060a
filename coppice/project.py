"""The project: the user's own module, named `module` in coppice.toml, and what it must hold.

Two functions are the whole contract::

    def build_model() -> torch.nn.Module: ...      # the dense architecture, untrained
    def load_data() -> coppice.project.Data: ...   # train, validation and holdout

`build_model` must be repeatable: the surgery record is replayed on what it returns. The model takes
the inputs by name as keyword arguments, or, with one input, as its only positional argument.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from coppice import errors, labels, settings

Array = npt.NDArray[np.generic]

_MARK = "__coppice_project__"


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
    """The three splits, and where they come from.

    Attributes
    ----------
    classes
        Class names in the order of the indices (empty: regression).
    source
        Where the rows come from, as a person would look it up: an address, a query, a table.
    licence
        Under which terms they may be used, e.g. `CC-BY-4.0`, or `own`.
    collected_from, collected_to
        First and last day on which they were collected.
    """

    train: Split
    validation: Split
    holdout: Split
    classes: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    collected_from: dt.date | None = None
    collected_to: dt.date | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A loaded project: its settings and the user's functions."""

    settings: settings.Settings
    build_model: Callable[[], Any]
    """Returns a fresh, untrained `torch.nn.Module`."""
    load_data: Callable[[], object]


def load(tree: settings.Settings) -> Project:
    """Import the user's module, its folder appended to the search path.

    A module that lies beside coppice.toml is taken from there, whatever else has its name on the
    search path, and also where another project was loaded before in this process.

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
        module = _import(name, tree.root)
    except errors.ProjectError:
        raise
    except ModuleNotFoundError as cause:
        message = f"cannot import {name!r}: {cause}; is it in {folder}, with what it needs?"
        raise errors.ProjectError(message) from cause
    except (Exception, SystemExit) as cause:  # the user's code may raise anything
        message = f"{name!r} raised {type(cause).__name__} on import: {cause}"
        raise errors.ProjectError(message) from cause
    build_model, load_data = (_function(module, field) for field in ("build_model", "load_data"))
    return Project(settings=tree, build_model=build_model, load_data=load_data)


def _import(name: str, root: Path) -> ModuleType:
    candidates = (root / f"{name}.py", root / name / "__init__.py")
    origin = next((path.resolve() for path in candidates if path.is_file()), None)
    loaded = sys.modules.get(name)
    if origin is None:
        return importlib.import_module(name)
    if loaded is not None and _is_from(loaded, origin):
        return loaded
    if loaded is not None and not hasattr(loaded, _MARK):
        message = f"the name {name!r} is taken by {loaded.__file__}; rename {origin.name}"
        raise errors.ProjectError(message)
    return _execute(name, origin)


def _is_from(module: ModuleType, origin: Path) -> bool:
    return module.__file__ is not None and Path(module.__file__).resolve() == origin


def _execute(name: str, origin: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, origin)
    if spec is None or spec.loader is None:
        message = f"{origin} is not a Python module"
        raise errors.ProjectError(message)
    module = importlib.util.module_from_spec(spec)
    setattr(module, _MARK, True)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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
    except (Exception, SystemExit) as cause:  # the user's code may raise anything
        message = f"load_data() raised {type(cause).__name__}: {cause}"
        raise errors.ProjectError(message) from cause
    if not isinstance(data, Data):
        message = f"load_data() returned {type(data).__name__}, not coppice.project.Data"
        raise errors.ProjectError(message)
    _check_origin(data)
    for name in ("train", "validation", "holdout"):
        _check_split(name, getattr(data, name), data, project.settings.project.task)
    return data


def _check_origin(data: Data) -> None:
    for field in ("source", "licence"):
        if not isinstance(getattr(data, field), str):
            message = f"load_data(): Data.{field} is {getattr(data, field)!r}, expected a string"
            raise errors.ProjectError(message)
    for field in ("collected_from", "collected_to"):
        if not isinstance(getattr(data, field), dt.date | None):
            message = f"load_data(): Data.{field} is {getattr(data, field)!r}, expected a date"
            raise errors.ProjectError(message)
    # A datetime is a date too, but the two cannot be compared.
    days = [day.isoformat()[:10] for day in (data.collected_from, data.collected_to) if day]
    if days != sorted(days):
        message = f"load_data(): Data.collected_from {days[0]} lies after collected_to {days[1]}"
        raise errors.ProjectError(message)


def _check_split(name: str, split: Split, data: Data, task: labels.Task) -> None:
    problem = (
        _kind_problem(split)
        or _rows_problem(split)
        or _targets_problem(split, data, task)
        or _inputs_problem(split, data.train)
    )
    if problem:
        message = f"load_data(): the {name} split cannot be used: {problem}"
        raise errors.ProjectError(message)


def _kind_problem(split: object) -> str | None:
    if not isinstance(split, Split):
        return f"it is a {type(split).__name__}, expected coppice.project.Split"
    arrays: dict[str, object] = {"targets": split.targets, **split.inputs, **split.slices}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            return f"{name!r} is a {type(array).__name__}, expected a numpy array"
    return None if split.inputs else "it has no inputs"


def _inputs_problem(split: Split, train: Split) -> str | None:
    mine = {name: (array.dtype.name, array.shape[1:]) for name, array in split.inputs.items()}
    theirs = {name: (array.dtype.name, array.shape[1:]) for name, array in train.inputs.items()}
    if mine != theirs:
        return f"its inputs (dtype, row shape) are {mine}, but those of train are {theirs}"
    return None


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
        if split.targets.dtype.kind not in "iuf":
            return f"targets have dtype {split.targets.dtype}, expected numbers"
        return None if np.isfinite(split.targets.astype(float)).all() else "a target is not finite"
    if len(set(data.classes)) < 2 or len(set(data.classes)) < len(data.classes):
        return f"Data.classes must name at least two different classes, got {data.classes}"
    if not all(isinstance(name, str) for name in data.classes):
        return f"Data.classes must be strings, got {data.classes}"
    if task == "binary" and len(data.classes) != 2:
        return f"the task is binary, but Data.classes names {len(data.classes)}"
    if split.targets.dtype.kind not in "iu":
        return f"targets have dtype {split.targets.dtype}, expected class indices"
    if int(split.targets.min()) < 0 or int(split.targets.max()) >= len(data.classes):
        return f"a target lies outside 0..{len(data.classes) - 1}"
    return None
