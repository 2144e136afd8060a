"""The user's torch module as the learning plane sees it: build it, call it, check its answers.

Nothing here trains or changes a weight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules import lazy
from torch.utils.hooks import RemovableHandle

from coppice import errors, labels, project

Tensors = Mapping[str, torch.Tensor]
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block and put its generator back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def on_cores(threads: int) -> Iterator[None]:
    """Let torch use so many threads inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(factory: Callable[[], Any], *, seed: int) -> nn.Module:
    """Call the user's `build_model` with torch seeded, so that its first weights can be repeated.

    Raises
    ------
    ProjectError
        It raises, or returns something other than a module, or one with lazy layers.
    """
    try:
        with seeded(seed):
            model = factory()
    except Exception as cause:  # the user's code may raise anything
        message = f"build_model() raised {type(cause).__name__}: {cause}"
        raise errors.ProjectError(message) from cause
    if not isinstance(model, nn.Module):
        message = f"build_model() returned {type(model).__name__}, not a torch.nn.Module"
        raise errors.ProjectError(message)
    for name, module in model.named_modules():
        if isinstance(module, lazy.LazyModuleMixin):
            message = (
                f"build_model() returned a layer without weights: {name!r} is a "
                f"{type(module).__name__}; give it its sizes, or let the model answer one row "
                "before you return it"
            )
            raise errors.ProjectError(message)
    return model


def to_tensors(inputs: Mapping[str, project.Array]) -> dict[str, torch.Tensor]:
    """Turn named arrays into tensors, without a copy where torch can share the memory."""
    return {name: _to_tensor(name, array) for name, array in inputs.items()}


def _to_tensor(name: str, array: project.Array) -> torch.Tensor:
    if array.dtype.kind not in "fiub":
        message = f"input {name!r} has dtype {array.dtype}; a model takes numbers or booleans"
        raise errors.ProjectError(message)
    # A read-only array, such as one that came out of an event, has to be copied for torch.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def call(model: nn.Module, tensors: Tensors) -> torch.Tensor:
    """Ask a model by the project's convention: one input by position, several by name.

    torch's fused encoder layer is not taken: what serves is exported without it, it hides its parts
    from whoever listens to them, and it answers zeros for padding, but not in every batch.

    Raises
    ------
    ProjectError
        The model returns something other than one tensor.
    """
    with _plainly():
        answers = model(*tensors.values()) if len(tensors) == 1 else model(**tensors)
    if not isinstance(answers, torch.Tensor):
        message = f"the model returned {type(answers).__name__}; it must return one tensor"
        raise errors.ProjectError(message)
    return answers


@contextlib.contextmanager
def hooked(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Take hooks off their modules behind the block."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def shaped(answers: torch.Tensor, task: labels.Task) -> torch.Tensor:
    """Check a model's raw answers: logits [rows, classes], or values [rows] or [rows, 1].

    Returns
    -------
    torch.Tensor
        Logits [rows, classes], or for regression values [rows].

    Raises
    ------
    ProjectError
        The shape does not fit the task; the message says what to change.
    """
    shape = tuple(answers.shape)
    if task == "regression":
        if answers.ndim > 2 or (answers.ndim == 2 and shape[1] != 1) or answers.ndim == 0:
            message = (
                f"the model answers with shape {shape}; a regression needs [rows] or [rows, 1]"
            )
            raise errors.ProjectError(message)
        return answers.reshape(-1)
    if answers.ndim != 2 or shape[1] < 2:
        message = (
            f"the model answers with shape {shape}; classes need one logit each, [rows, classes]: "
            "end a binary model in nn.Linear(..., 2), without sigmoid or softmax"
        )
        raise errors.ProjectError(message)
    return answers


MOST_COLUMNS = 64
"""Columns of whole numbers whose extremes are asked for one by one; of more, those of them all."""


def _telling_rows(split: project.Split) -> npt.NDArray[np.intp]:
    rows = [np.arange(min(2, split.rows))]
    for array in split.inputs.values():
        if array.dtype.kind in "iu" and array.size:
            columns = array.reshape(split.rows, -1)
            if columns.shape[1] > MOST_COLUMNS:
                columns = np.stack([columns.min(axis=1), columns.max(axis=1)], axis=1)
            rows += [columns.argmin(axis=0), columns.argmax(axis=0)]
    return np.unique(np.concatenate(rows))


def _described(tensor: torch.Tensor) -> tuple[str | int, ...]:
    dtype = str(tensor.dtype)
    if tensor.is_floating_point() or not tensor.numel():
        return (dtype, *tensor.shape)
    return (dtype, *tensor.shape, f"from {int(tensor.min())} to {int(tensor.max())}")


def check(model: nn.Module, split: project.Split, task: labels.Task, classes: int = 0) -> None:
    """Ask the model for a few rows, so that a misfit is found before any time is spent.

    Two rows tell shapes and datatypes; of whole numbers, which may be codes that an embedding looks
    up, those with the least and the largest value of each column are asked as well.

    Raises
    ------
    ProjectError
        The model raises on these inputs, or its answers do not fit the task.
    """
    tensors = to_tensors(split.take(_telling_rows(split)).inputs)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            answers = shaped(call(model, tensors), task)
    except errors.CoppiceError:
        raise
    except Exception as cause:  # the user's code may raise anything
        given = {name: _described(tensor) for name, tensor in tensors.items()}
        message = f"the model raised {type(cause).__name__} on inputs {given}: {cause}"
        if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
            message += "; layers are float32 unless you say otherwise: .astype(np.float32)"
        raise errors.ProjectError(message) from cause
    finally:
        model.train(was_training)
    needed = classes or (int(split.targets.max()) + 1 if task != "regression" else 0)
    if task != "regression" and (
        answers.shape[1] < needed or (classes and answers.shape[1] != classes)
    ):
        message = f"the model answers with {answers.shape[1]} classes, the data has {needed}"
        raise errors.ProjectError(message)
