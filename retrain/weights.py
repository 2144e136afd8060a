"""Weights on disk: safetensors in, safetensors out, and never a pickle."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import torch as safetensors_torch
from torch import nn

from coppice import artifact, errors
from retrain import network
from retrain.pruning import surgery


def save(model: nn.Module, path: Path) -> None:
    """Write a model's state dict.

    Raises
    ------
    ProjectError
        The state dict holds something other than tensors.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            message = f"state dict entry {name!r} is {type(value).__name__}, not a tensor"
            raise errors.ProjectError(message)
    # Tied weights would share memory, which the format refuses; copies are tied again on loading.
    copies = {name: value.detach().clone().contiguous() for name, value in state.items()}
    safetensors_torch.save_file(copies, path)


def load(model: nn.Module, path: Path) -> nn.Module:
    """Load a state dict into a model, in place and strictly, and return the model.

    Raises
    ------
    ProjectError
        There is no such file, it is not safetensors, or its names or shapes are not the model's;
        a missing name is reported with the nearest one in the file.
    """
    state = _read(path)
    problems = _problems(model.state_dict(), state)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:10])
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        message = f"{path} does not fit the model that build_model() gives:\n{shown}{more}"
        raise errors.ProjectError(message)
    model.load_state_dict(state)
    return model


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors_torch.load_file(path)
    except FileNotFoundError as cause:
        message = f"there are no weights at {path}; check `project.checkpoint`"
        raise errors.ProjectError(message) from cause
    except safetensors.SafetensorError as cause:
        message = (
            f"{path} is not a safetensors file ({cause}); write one with "
            "safetensors.torch.save_file(model.state_dict(), path)"
        )
        raise errors.ProjectError(message) from cause


def _problems(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    spare = sorted(set(found) - set(wanted))
    problems = []
    for name, tensor in wanted.items():
        if name not in found:
            close = difflib.get_close_matches(name, spare, n=1)
            hint = f"; the file has {close[0]!r}" if close else ""
            problems.append(f"{name!r} is missing{hint}")
        elif found[name].shape != tensor.shape:
            shapes = f"{tuple(found[name].shape)}, the model needs {tuple(tensor.shape)}"
            problems.append(f"{name!r} has shape {shapes}")
    return problems + [f"{name!r} is not in the model" for name in spare]


def rebuild(factory: Callable[[], Any], folder: Path) -> nn.Module:
    """Rebuild the trained model of an artifact, bit for bit, from the user's factory.

    Parameters
    ----------
    factory
        The project's `build_model`.
    folder
        A verified artifact, dense or pruned.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, ready to be trained on.

    Raises
    ------
    PruningError
        The factory no longer gives the model that was pruned.
    ProjectError
        The factory fails, or the weights do not fit.
    """
    model = network.build(factory, seed=0)
    record = folder / artifact.SURGERY
    if record.exists():
        surgery.replay(model, surgery.Surgery.from_json(record.read_bytes()))
    return load(model, folder / artifact.WEIGHTS).eval()
