"""A version as a torch program: one `.pt2` file that torch runs without the user's code.

Called by export. The file answers what the served graph does, for any number of rows. It holds
tensors and JSON alone: torch's own loader would unpickle what else an archive holds, so nothing
else is ever written, and an archive that does is refused.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from coppice import errors, labels, project
from retrain import network, quiet, served

NAMES = "names.json"
"""Member of the archive that names inputs and outputs, in the program's order."""

Runner: TypeAlias = Callable[[Mapping[str, project.Array]], dict[str, project.Array]]
"""Answers one batch."""


def save(model: nn.Module, split: project.Split, path: Path, *, task: labels.Task) -> None:
    """Write a model as a program.

    Parameters
    ----------
    split
        Real rows, to trace the model with.

    Raises
    ------
    ArtifactError
        The model cannot be exported.
    """
    whole = served.Served(model, split, task)
    try:
        with quiet.quiet("torch.export"), torch.no_grad():
            program = torch.export.export(
                whole,
                whole.trace_inputs(split),
                dynamic_shapes=whole.dynamic_shapes(),
                strict=False,
            )
    # torch.export has no common root for what it raises, and it runs the user's forward.
    except Exception as cause:
        message = (
            f"the model cannot be exported by torch: {_first_line(cause)}; its forward must be "
            "made of torch operations, for any number of rows"
        )
        raise errors.ArtifactError(message) from cause
    # The rows that it was traced with would be in the file, as a pickle.
    program._example_inputs = None  # noqa: SLF001
    names = json.dumps({"inputs": whole.names, "outputs": whole.outputs})
    torch.export.save(program, path, extra_files={NAMES: names})


def load(path: Path, *, threads: int = 1) -> Runner:
    """Load a program, and return what answers a batch by it.

    Parameters
    ----------
    threads
        Threads that torch may use, in this whole process.

    Raises
    ------
    ArtifactError
        There is no such file, it is no program, or it holds a pickle.
    """
    _check(path)
    found = {NAMES: ""}
    try:
        program = torch.export.load(path, extra_files=found)
        names = json.loads(found[NAMES])
    except (RuntimeError, ValueError, KeyError) as cause:
        message = f"{path} cannot be loaded: {_first_line(cause)}; export it again"
        raise errors.ArtifactError(message) from cause
    torch.set_num_threads(threads)
    module = program.module()

    def run(inputs: Mapping[str, project.Array]) -> dict[str, project.Array]:
        tensors = network.to_tensors({name: inputs[name] for name in names["inputs"]})
        with torch.inference_mode():
            answers = module(*tensors.values())
        return {
            name: np.asarray(answer) for name, answer in zip(names["outputs"], answers, strict=True)
        }

    return run


def _check(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [member.filename for member in archive.infolist() if _pickled(member)]
            configs = [name for name in archive.namelist() if name.endswith("_config.json")]
            told = [json.loads(archive.read(name)) for name in configs]
    except (OSError, zipfile.BadZipFile, ValueError) as cause:
        message = f"{path} is no torch program ({cause}); export it again"
        raise errors.ArtifactError(message) from cause
    if pickles or any(_names_pickle(config) for config in told):
        message = f"{path} holds a pickle, which could run any code; only programs without are run"
        raise errors.ArtifactError(message)


def _pickled(member: zipfile.ZipInfo) -> bool:
    tensors = "/data/weights/" in member.filename or "/data/constants/" in member.filename
    return member.file_size > 0 and not tensors and member.filename.endswith((".pt", ".pkl"))


def _names_pickle(config: Mapping[str, Any]) -> bool:
    return any(entry.get("use_pickle", True) for entry in config.get("config", {}).values())


def _first_line(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}"
