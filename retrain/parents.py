"""The dense parent: found in the registry, loaded from a checkpoint, or trained.

A parent follows from the project's data, its training settings, the checkpoint and the module's
source. A digest of them all, the fingerprint, is kept in the card, so that a parent is trained once
and used again as long as nothing of that changed. A parent that was trained again on production
data keeps the fingerprint of the one it came from: it is the same project, only wiser.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from torch import nn

from coppice import artifact, errors, project
from coppice.registry import base
from retrain import card, network, quality, train, weights

Origin: TypeAlias = Literal["trained", "checkpoint", "retrained", "registered"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Parent:
    """A trained, unpruned model.

    Attributes
    ----------
    model
        In evaluation mode. Copy it with `copy_of` before changing a weight.
    origin
        How it came about; `registered` is one that the registry holds already, under `tag`.
    """

    model: nn.Module
    origin: Origin
    tag: str | None = None


def fingerprint(own: project.Project, data: project.Data) -> str:
    """Return the digest of all that a dense parent follows from."""
    tree = own.settings
    splits = {name: getattr(data, name) for name in ("train", "validation", "holdout")}
    whole = hashlib.sha256(quality.digest(splits).encode())
    whole.update(tree.train.model_dump_json().encode())
    whole.update(f"{tree.project.seed}/{tree.project.task}/{data.classes}".encode())
    for path in (_checkpoint(own), _source(own)):
        whole.update(path.read_bytes() if path is not None and path.is_file() else b"-")
    return whole.hexdigest()


def _checkpoint(own: project.Project) -> Path | None:
    tree = own.settings
    return tree.root / tree.project.checkpoint if tree.project.checkpoint else None


def _source(own: project.Project) -> Path | None:
    try:
        name = inspect.getsourcefile(own.build_model)
    except TypeError:
        return None
    return None if name is None else Path(name)


def reusable(own: project.Project, registry: base.Registry, wanted: str) -> str | None:
    """Return the tag of the registered parent if it has the wanted fingerprint."""
    tag = registry.aliases(own.settings.project.name).get("parent")
    if tag is None:
        return None
    try:
        found = card.read(registry.path(tag))
    except errors.ArtifactError:
        # A parent that something else packed says nothing about what it follows from.
        return None
    return tag if found.lineage.fingerprint == wanted else None


def registered(own: project.Project, registry: base.Registry, tag: str) -> Parent:
    """Rebuild a registered dense parent from the user's factory and its weights.

    Raises
    ------
    ArtifactError
        It is no dense parent, or its files do not match its manifest.
    ProjectError
        Its weights do not fit what `build_model` returns by now.
    """
    folder = registry.path(tag)
    manifest = artifact.verify(folder)
    if manifest.parent is not None:
        message = f"{tag} is itself pruned; its dense parent is {manifest.parent}"
        raise errors.ArtifactError(message)
    return Parent(model=weights.rebuild(own.build_model, folder), origin="registered", tag=tag)


def make(own: project.Project, data: project.Data, *, progress: Callable[[float], None]) -> Parent:
    """Load the project's checkpoint, or train the dense parent where it has none.

    Parameters
    ----------
    progress
        Told the share that is done after each epoch; may raise to stop.

    Raises
    ------
    ProjectError
        The model does not fit the data or the task, or the checkpoint does not fit the model.
    """
    model = _built(own)
    network.check(model, data.train, own.settings.project.task, len(data.classes))
    path = _checkpoint(own)
    if path is not None:
        return Parent(model=weights.load(model, path).eval(), origin="checkpoint")
    return _trained(own, model, data.train, own.settings.train.epochs, progress, origin="trained")


def retrain(
    own: project.Project,
    old: Parent,
    split: project.Split,
    epochs: int,
    *,
    progress: Callable[[float], None],
) -> Parent:
    """Train a copy of a parent again, from its weights on; the rest is as `[train]` says."""
    return _trained(own, copy_of(own, old), split, epochs, progress, origin="retrained")


def copy_of(own: project.Project, parent: Parent) -> nn.Module:
    """Return a fresh model with the parent's weights, in evaluation mode."""
    model = _built(own)
    model.load_state_dict(parent.model.state_dict())
    return model.eval()


def _built(own: project.Project) -> nn.Module:
    return network.build(own.build_model, seed=own.settings.project.seed)


def _trained(
    own: project.Project,
    model: nn.Module,
    split: project.Split,
    epochs: int,
    progress: Callable[[float], None],
    *,
    origin: Origin,
) -> Parent:
    section = own.settings.train
    plan = train.FitPlan(
        task=own.settings.project.task,
        epochs=epochs,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
        weight_decay=section.weight_decay,
        seed=own.settings.project.seed,
    )
    train.fit(model, split, plan, progress=lambda epoch, _: progress(epoch / epochs))
    return Parent(model=model.eval(), origin=origin)
