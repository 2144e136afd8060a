"""A project whose widths are searched in seconds: a small perceptron that can lose most of them.

Run as `python -m tests.support.searching FOLDER TARGET` it searches in a process of its own and
prints what each structure costs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from coppice import project, settings
from coppice.testing import MemoryRegistry
from retrain import store
from retrain.pruning import recipe
from retrain.search import chain, choice, grounds, loop, probes, subject, terms

WIDE, NARROW = 32, 16


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, WIDE),
        nn.BatchNorm1d(WIDE),
        nn.ReLU(),
        nn.Linear(WIDE, NARROW),
        nn.ReLU(),
        nn.Linear(NARROW, 2),
    )


class Branch(nn.Module):
    """Two layers beside a shortcut: a block that can be left out."""

    def __init__(self, width: int = WIDE, inside: int = NARROW) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, inside), nn.ReLU(), nn.Linear(inside, width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = values + self.inner(values)
        return found


def build_deep() -> nn.Module:
    """Return a perceptron with two blocks that the task hardly needs."""
    return nn.Sequential(
        nn.Linear(4, WIDE), nn.ReLU(), Branch(), Branch(), nn.BatchNorm1d(WIDE), nn.Linear(WIDE, 2)
    )


def build_flat() -> nn.Module:
    """Return a network of which a single layer is left without its block."""
    return nn.Sequential(nn.BatchNorm1d(4), Branch(4, NARROW), nn.Linear(4, 2))


def split(rows: int) -> project.Split:
    points = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    return project.Split(
        inputs={"x": points},
        targets=(points[:, 0] * points[:, 1] > 0).astype(np.int64),
        slices={"half": np.where(points[:, 2] > 0, "upper", "lower")},
    )


def load_data() -> project.Data:
    return project.Data(
        train=split(400), validation=split(200), holdout=split(100), classes=("no", "yes")
    )


def own_of(folder: Path, build: Callable[[], nn.Module] = build_model) -> project.Project:
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="m", task="multiclass"),
        train=settings.TrainSettings(epochs=8, learning_rate=0.02),
    )
    return project.Project(settings=tree, build_model=build, load_data=load_data)


def wish(**changes: Any) -> choice.Wish:
    asked: dict[str, Any] = {
        "base": recipe.Recipe(criterion="magnitude", learning_rate=0.01),
        "terms": terms.Terms(target="macs"),
        "budget": probes.Budget(drop=0.05, slice_drop=0.2),
        "effort": probes.Effort(epochs=2, rows=400),
        "structures": 9,
        "sensitivity_rows": 200,
    }
    return choice.Wish(**{**asked, **changes})


def search(folder: Path, **changes: Any) -> loop.Found:
    return loop.search(own_of(folder), MemoryRegistry(folder / "versions"), wish(**changes))


def search_deep(folder: Path, **changes: Any) -> loop.Found:
    own = own_of(folder, build_deep)
    return loop.search(own, MemoryRegistry(folder / "versions"), wish(**changes))


def subject_of(
    folder: Path,
    build: Callable[[], nn.Module] = build_deep,
    base: recipe.Recipe | None = None,
    *,
    leave_out: bool = True,
) -> subject.Subject:
    """Return what is searched, of a model that was not trained."""
    torch.manual_seed(0)
    model, data = build().eval(), load_data()
    how = base or recipe.Recipe(criterion="magnitude")
    asked = grounds.Asked(chain.parted(how), leave_out)
    plan = grounds.Plan(asked=asked, task="multiclass", seed=0, key={"model": build.__name__})
    laid = grounds.lay(model, data.train, plan, store.Store(folder))
    return subject.Subject(
        model=model,
        grounds=laid.grounds,
        chain=laid.chain,
        data=data,
        task="multiclass",
        scale=1.0,
        seed=0,
        key=plan.key,
    )


def findings(folder: Path) -> dict[str, int]:
    """Name every finding below a folder, with the moment at which it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.json")
    }


def main(folder: str, target: Any) -> None:
    found = search(Path(folder), terms=terms.Terms(target=target), structures=3)
    told = {str(entry.widths): entry.cost for entry in found.entries}
    sys.stdout.buffer.write(msgspec.json.encode(told, order="sorted"))


if __name__ == "__main__":
    main(*sys.argv[1:])
