"""Checks of what the user brings: the module, its data, the model and the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors

from coppice import errors, project
from coppice_cli.doctor import finding
from coppice_cli.doctor.finding import Finding

FEW_ROWS = 100
"""Holdout rows below which an accuracy is known to no better than some ten points, and training
rows below which a network has hardly anything to learn from, or to recover on."""


def split_sizes(data: project.Data) -> Iterator[Finding]:
    """Say how large the splits are, and warn where they cannot teach or tell much."""
    sizes = {name: getattr(data, name).rows for name in ("train", "validation", "holdout")}
    inputs = ", ".join(
        f"{name} {array.dtype}{list(array.shape[1:])}" for name, array in data.train.inputs.items()
    )
    rows = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    yield finding.ok("data", f"rows: {rows}; inputs: {inputs}")
    if sizes["train"] < FEW_ROWS:
        text = f"there are only {sizes['train']} rows to train on and to recover on from a cut"
        yield finding.warning("data", text, f"return at least {FEW_ROWS} rows as Data.train")
    if sizes["holdout"] < FEW_ROWS:
        text = f"the holdout has only {sizes['holdout']} rows, so the gates can show little"
        yield finding.warning("data", text, f"hold out at least {FEW_ROWS} rows")


def slices(data: project.Data, least: int) -> Iterator[Finding]:
    """Say which slices the gates will watch, and which are too small for that."""
    if not data.holdout.slices:
        text = "no slices are named, so a group can get worse unnoticed"
        yield finding.warning("slices", text, "return Split(slices={...}) from load_data")
        return
    small, watched = [], 0
    for family, names in data.holdout.slices.items():
        for name, rows in zip(*np.unique(names, return_counts=True), strict=True):
            watched += rows >= least
            if rows < least:
                small.append(f"{family}={name} ({rows} rows)")
    if small:
        text = f"too small to gate: {', '.join(small[:5])}"
        yield finding.warning("slices", text, f"hold out {least} rows of each, or merge slices")
    if watched:
        yield finding.ok("slices", f"{watched} slices are gated")


def quality(data: project.Data) -> Iterator[Finding]:
    """Warn of what makes figures on these data doubtful, such as rare classes or leaked rows."""
    from retrain import quality

    for text in quality.inspect(data).warnings:
        yield finding.warning("data", text, "mend it in load_data(), or know what it means")


def model(loaded: project.Project, data: project.Data) -> Iterator[Finding]:
    """Build the model twice, and ask it for a few rows of each split."""
    from retrain import network

    tree = loaded.settings.project
    first, second = (network.build(loaded.build_model, seed=tree.seed) for _ in range(2))
    for split in (data.train, data.validation, data.holdout):
        network.check(first, split, tree.task, len(data.classes))
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in each.state_dict().items()}
        for each in (first, second)
    ]
    if shapes[0] != shapes[1]:
        text = "build_model() returns another architecture at each call"
        yield finding.problem("model", text, "make it repeatable: surgery is replayed on it")
    weights = sum(parameter.numel() for parameter in first.parameters())
    yield finding.ok("model", f"builds, fits data and task; {weights:,} parameters")


def checkpoint(loaded: project.Project) -> Iterator[Finding]:
    """Compare the checkpoint's names and shapes with those of the model."""
    from retrain import network

    tree = loaded.settings
    if tree.project.checkpoint is None:
        yield finding.ok("checkpoint", "none; the dense parent is trained by Coppice")
        return
    path = tree.root / tree.project.checkpoint
    try:
        found = _shapes(path)
    except (OSError, safetensors.SafetensorError) as cause:
        text = f"{path} cannot be read: {cause}"
        remedy = "write it with safetensors.torch.save_file(model.state_dict(), ...)"
        yield finding.problem("checkpoint", text, remedy)
        return
    model = network.build(loaded.build_model, seed=tree.project.seed)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    differ = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    if differ:
        text = f"{len(differ)} tensors do not fit build_model(): {', '.join(differ[:3])}"
        yield finding.problem("checkpoint", text, "save it from the model of build_model()")
        return
    yield finding.ok("checkpoint", f"{len(found)} tensors fit the model")


def module(loaded: project.Project) -> Finding:
    """Say where the user's module was found."""
    name, root = loaded.settings.project.module, loaded.settings.root
    return finding.ok("project", f"module {name!r} imports from {root}")


def from_error(check: str, problem: errors.CoppiceError) -> Finding:
    """Turn an error of ours, which says what to do, into a finding."""
    return finding.problem(check, str(problem))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with safetensors.safe_open(path, framework="numpy") as stored:
        names = stored.keys()
        return {name: tuple(stored.get_slice(name).get_shape()) for name in names}
