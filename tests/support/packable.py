"""Networks and versions to pack, export and quantize: real digit scans, trained in seconds."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from coppice import project, settings
from coppice.testing import MemoryRegistry
from retrain import network, pack, timing, train
from retrain.evaluate import evaluation
from retrain.pruning import recipe, schedule
from tests.support import digits

RULES = evaluation.Rules(task="multiclass", classes=digits.CLASSES)
WIDTH = 768


def wide() -> nn.Module:
    """Build a net that is one large matrix product, of which int8 leaves a quarter of the bytes."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, 10),
    )


class Skewed(nn.Module):
    """A net whose hidden values hold one that dwarfs the others, which a single scale drowns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(33, 32)
        self.last = nn.Linear(32, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(pixels.flatten(1)))
        giant = 1e4 * pixels.flatten(1).sum(dim=1, keepdim=True)
        both = torch.cat([hidden, giant], dim=1)
        return self.last(torch.relu(self.second(both)))  # type: ignore[no-any-return]


def skewed() -> nn.Module:
    """Build it deaf to the giant, so that in full precision it learns as well as any."""
    model = Skewed()
    with torch.no_grad():
        model.second.weight[:, -1] = 0.0
    model.second.weight.register_hook(_without_giant)
    return model


def _without_giant(gradient: torch.Tensor) -> torch.Tensor:
    kept = gradient.clone()
    kept[:, -1] = 0.0
    return kept


@functools.cache
def data() -> project.Data:
    """Return the digit scans."""
    return digits.load_data()


@functools.cache
def trained(factory: str) -> nn.Module:
    """Return one of `wide`, `skewed` and the digits' own network, trained; do not change it."""
    build = {"wide": wide, "skewed": skewed, "digits": digits.build_model}[factory]
    model = network.build(build, seed=0)
    plan = train.FitPlan(task="multiclass", epochs=6, learning_rate=5e-3, weight_decay=0.0)
    train.fit(model, data().train, plan)
    return model.eval()


def time_by_size(patch: pytest.MonkeyPatch) -> None:
    """Let a graph take a nanosecond for each of its bytes, whatever machine tests, and how busy.

    The workers are real, and so is every file; only the clock is not.
    """

    def turn(worker: timing.Worker, rows: int) -> timing.Turn:
        seconds = 1e-9 * rows * Path(worker.contestant.path).stat().st_size
        return timing.Turn(seconds, seconds)

    patch.setattr(timing.Worker, "turn", turn)


class Versions(NamedTuple):
    """A project with a dense parent and a pruned version in its registry."""

    own: project.Project
    registry: MemoryRegistry
    parent: str
    pruned: str


def versions(folder: Path, **sections: object) -> Versions:
    """Register the digits' network and its pruned half in a registry under a folder."""
    tree = settings.from_tree(
        {"project": {"name": "digits", "module": digits.MODULE}} | sections, root=folder
    )
    registry = MemoryRegistry(folder / "registry")
    parent = trained("digits")
    parent_tag = registry.add(_packed(parent, folder / "parent"))
    pruned = copy.deepcopy(parent)
    how = recipe.Recipe(criterion="magnitude", amount=0.5, align=4)
    cut = schedule.prune(pruned, data().train, how, task="multiclass", seed=0)
    made = _packed(pruned, folder / "pruned", parent=parent_tag, surgery=cut)
    return Versions(project.load(tree), registry, parent_tag, registry.add(made))


def _packed(model: nn.Module, folder: Path, **parts: object) -> Path:
    whole = pack.PackParts(
        name="digits",
        task="multiclass",
        data=data(),
        card={},
        accepted=train.score(model, data().holdout, "multiclass"),
        accepted_rows=data().holdout.rows,
        created_at=0.0,
        **parts,  # type: ignore[arg-type]
    )
    pack.pack(model, whole, folder)
    return folder
