"""Where a sweep's models are made and measured: the parent, its controls, and the stand for timing.

Everything pruned goes through `recovery.Course`, as a candidate does. The parent is the registered
one where the project has not changed since; else it is made here and kept beside the sweep, so
that a sweep that is resumed goes on from the same weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import torch
from torch import nn

from coppice import labels, project, settings
from coppice.registry import base
from retrain import (
    material,
    network,
    onnx_export,
    parents,
    phases,
    recovery,
    timing,
    timing_worker,
    train,
    weights,
)
from retrain.evaluate import paired
from retrain.pruning import recipe, schedule, surgery
from retrain.sweep import record

DENSE, EAGER, PRUNED = "dense", "eager", "pruned"
"""The three that take turns."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What all combinations share.

    Attributes
    ----------
    used
        The project's data, by use.
    parent
        The dense parent.
    split
        Rows that are scored.
    digest
        Of all that a result follows from, besides its combination and recipe.
    """

    own: project.Project
    used: material.Material
    parent: parents.Parent
    split: project.Split
    digest: str

    @property
    def tree(self) -> settings.Settings:
        """The project's settings."""
        return self.own.settings

    @property
    def task(self) -> labels.Task:
        """The project's task."""
        return self.own.settings.project.task

    def course(self, plan: recipe.Recipe, seed: int) -> recovery.Course:
        """Return the course of one combination."""
        return recovery.Course(
            recipe=plan,
            task=self.task,
            seed=seed,
            section=self.tree.train,
            teacher=self.parent.model,
            training=self.used.training,
            recovery=self.used.recovery,
            passes=self.used.passes,
        )

    def answers(self, model: nn.Module) -> labels.Floats:
        """Return a model's public answers to the rows that are scored."""
        found: labels.Floats = train.predict(model, self.split.inputs, task=self.task).astype(
            np.float64
        )
        return found

    def scores(self, answers: labels.Floats) -> labels.Floats:
        """Return the score of each row."""
        targets = self.split.targets.astype(np.float64)
        return labels.scores(answers, targets, task=self.task, scale=self.tree.project.scale)

    def compare(self, reference: labels.Floats, answers: labels.Floats) -> paired.Comparison:
        """Compare two models' answers row by row."""
        pairs = paired.pair(
            reference,
            answers,
            self.split.targets.astype(np.float64),
            task=self.task,
            scale=self.tree.project.scale,
        )
        return paired.compare(
            pairs, confidence=self.tree.gates.confidence, seed=self.tree.project.seed
        )


def ground(
    own: project.Project,
    registry: base.Registry,
    folder: Path,
    *,
    scored: str,
    progress: phases.Progress,
) -> Ground:
    """Load the data, and find the dense parent or make it.

    Parameters
    ----------
    folder
        Of the sweep; a parent that is made is kept there.
    scored
        Name of the split whose rows are scored.

    Raises
    ------
    ProjectError
        The project's own code or data cannot be used.
    """
    progress("data", 0.0)
    used = material.gather(own)
    progress("data", 1.0)
    parent = _parent(own, registry, used, folder, progress)
    whole = hashlib.sha256(f"{used.fingerprint}/{scored}".encode())
    for name, tensor in sorted(parent.model.state_dict().items()):
        whole.update(name.encode() + np.ascontiguousarray(tensor.numpy()).tobytes())
    return Ground(
        own=own,
        used=used,
        parent=parent,
        split=getattr(used.data, scored),
        digest=whole.hexdigest(),
    )


def _parent(
    own: project.Project,
    registry: base.Registry,
    used: material.Material,
    folder: Path,
    progress: phases.Progress,
) -> parents.Parent:
    tag = parents.reusable(own, registry, used.fingerprint)
    if tag is not None:
        return parents.registered(own, registry, tag)
    path = folder / f"parent-{used.fingerprint[:16]}.safetensors"
    if path.exists():
        model = network.build(own.build_model, seed=own.settings.project.seed)
        return parents.Parent(model=weights.load(model, path).eval(), origin="checkpoint")
    made = parents.make(own, used.data, progress=lambda share: progress("parent", share))
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    weights.save(made.model, part)
    part.replace(path)
    return made


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pruned:
    """A pruned and recovered model, with its record."""

    model: nn.Module
    cut: surgery.Surgery
    epochs: int


def prune(
    shared: Ground, plan: recipe.Recipe, seed: int, tell: Callable[[str, float], None]
) -> Pruned:
    """Prune a copy of the parent and let it recover.

    Raises
    ------
    PruningError
        The recipe cannot be carried out on this model.
    """
    course = dataclasses.replace(shared.course(plan, seed), part=tell)
    model = parents.copy_of(shared.own, shared.parent)
    cut = course.prune(model, lambda share: tell("prune", share))
    course.recover(model, lambda share: tell("recover", share))
    return Pruned(model=model, cut=cut, epochs=course.epochs)


def network_of(shared: Ground, model: nn.Module) -> record.Network:
    """Count what a network costs."""
    counted = schedule.cost(model, shared.used.data.train)
    tensors = [tensor.detach().numpy().tobytes() for tensor in model.state_dict().values()]
    return record.Network(
        macs=counted.macs,
        parameters=counted.parameters,
        zipped_bytes=len(zlib.compress(b"".join(tensors))),
    )


def structure(pruned: Pruned) -> list[object]:
    """Return what the speed of a pruned model follows from: its tensors' shapes, not their values.

    What a cut changes besides is in its record; the indices that stayed and the masks do not count.
    """
    shapes = {name: tuple(t.shape) for name, t in pruned.model.state_dict().items()}
    plain = msgspec.structs.replace(
        pruned.cut, selections=(), cuts=(), groups=(), whole=(), masks=()
    )
    return [shapes, plain]


class Eager:
    """The dense parent in torch, timed operation by operation in this process, on one core.

    An exported program would not do: what runs it takes twice as long as torch itself on a small
    network, and the pruned one would look better than it is.
    """

    def __init__(self, model: nn.Module, inputs: Mapping[str, project.Array]) -> None:
        self.contestant = timing.Contestant(name=EAGER, path="", engine="torch")
        self._model = model
        self._watch = timing_worker.Stopwatch(self._run, inputs)

    def turn(self, rows: int) -> timing.Turn:
        """Time a batch of so many rows."""
        with network.on_cores(1):
            return self._watch.turn(rows)

    def _run(self, inputs: Mapping[str, project.Array]) -> torch.Tensor:
        with torch.inference_mode():
            return network.call(self._model, network.to_tensors(inputs))


class Stand:
    """Times graphs against the dense parent's, in the runtime that serves and in torch.

    A context: the process of the dense parent's graph waits there for its turns.
    """

    def __init__(self, shared: Ground, folder: Path) -> None:
        self._shared = shared
        self._folder = folder
        self._rows = folder / "rows.npz"
        batch = shared.split.take(np.arange(record.BATCH) % shared.split.rows).inputs
        # The stubs take every keyword for `allow_pickle`.
        np.savez(self._rows, **dict(batch))  # type: ignore[arg-type]
        self._eager = Eager(shared.parent.model, batch)
        path = folder / "dense.onnx"
        self.dense = record.Graph(graph_bytes=self.export(shared.parent.model, path))
        self._worker = timing.Worker(timing.Contestant(name=DENSE, path=str(path)), self._rows)

    def __enter__(self) -> Self:
        """Wait until the process is ready."""
        self._worker.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        """End the process."""
        self._worker.__exit__(*problem)

    def export(self, model: nn.Module, path: Path) -> int:
        """Write a model's graph, and return its size in bytes.

        Raises
        ------
        ArtifactError
            It cannot be exported, or the graph does not answer like it.
        """
        onnx_export.export(model, self._shared.used.data.validation, path, task=self._shared.task)
        return path.stat().st_size

    def time(self, model: nn.Module, tell: Callable[[str, float], None]) -> record.Graph:
        """Export a pruned model and time it, for a single row and for a batch.

        Raises
        ------
        ArtifactError
            It cannot be exported, loaded or run.
        """
        tell("export", 0.0)
        path = self._folder / "pruned.onnx"
        size = self.export(model, path)
        pruned = timing.Contestant(name=PRUNED, path=str(path))
        with timing.Worker(pruned, self._rows) as worker:
            speeds = tuple(self._speed(worker, rows, tell) for rows in (1, record.BATCH))
        return record.Graph(graph_bytes=size, speeds=speeds)

    def _speed(
        self, worker: timing.Worker, rows: int, tell: Callable[[str, float], None]
    ) -> record.Speed:
        tell("time", 0.0 if rows == 1 else 0.5)
        found = timing.take_turns([self._worker, self._eager, worker], rows=rows)
        confidence = self._shared.tree.gates.confidence
        same, eager = (
            # The processor's time: a sweep takes long, and whatever else runs would slow some more.
            timing.gain(found, before, PRUNED, clock="cpu", confidence=confidence)
            for before in (DENSE, EAGER)
        )
        return record.Speed(rows=rows, same=same, eager=eager)
