"""The models that the serving benchmark asks, packed as Coppice packs them, and bodies to ask with.

All take 784 numbers. Nobody trained them: what they answer does not matter here, how long they take
does.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from coppice import artifact, project, registry, routing, settings
from retrain import pack

NAME = "bench"
CLASSES = tuple(str(digit) for digit in range(10))
INFER = f"/v2/models/{NAME}/infer"
ROWS = 64
CANARY_WEIGHT = 0.1


def mlp() -> nn.Module:
    """784-64-10."""
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def small_cnn() -> nn.Module:
    """Two convolutions with strides: about 0.3 million multiplications a row."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * 7 * 7, 10)),
    )


def larger_cnn() -> nn.Module:
    """Four convolutions: about 230 million multiplications a row, an eighth of a ResNet-18."""
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(128, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256 * 7 * 7, 10)),
    )


MODELS = {
    "MLP 784-64-10": (mlp, (784,)),
    "small CNN": (small_cnn, (1, 28, 28)),
    "larger CNN": (larger_cnn, (1, 28, 28)),
}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model in a project's registry, as champion, and a second version of it as candidate."""

    name: str
    tree: settings.Settings
    champion: str
    candidate: str
    row: npt.NDArray[np.float32]
    """One row to ask with, rows first."""

    @property
    def graph(self) -> Path:
        """The champion's ONNX file."""
        return registry.open_registry(self.tree).path(self.champion) / artifact.MODEL

    def at(self, port: int, lanes: dict[str, Any]) -> settings.Settings:
        """Write this subject's project anew beside itself, with its own port, lanes and log."""
        root = self.tree.root.parent / f"{self.tree.root.name}-{port}"
        root.mkdir()
        write_settings(root, {"port": port})
        tree = settings.load(root)
        tree.registry_path.parent.mkdir(parents=True, exist_ok=True)
        tree.registry_path.symlink_to(self.tree.registry_path)
        table = routing.RoutingTable(model=NAME, champion=self.champion, generation=1, **lanes)
        routing.save(tree.routing_path, table)
        return tree

    def bodies(self) -> dict[str, bytes]:
        """Return one row in each contestant's way of writing it."""
        shape, numbers = list(self.row.shape), self.row.ravel().tolist()
        raw = self.row.tobytes()
        tensor = {"name": "x", "shape": shape, "datatype": "FP32"}
        size = {"binary_data_size": len(raw)}
        header = {
            "inputs": [{**tensor, "parameters": size}],
            "parameters": {"binary_data_output": True},
        }
        return {
            "raw": raw,
            "binary": json.dumps(header).encode() + raw,
            "json": json.dumps({"inputs": [{**tensor, "data": numbers}]}).encode(),
            "plain": json.dumps({"shape": shape, "data": numbers}).encode(),
            "nested": json.dumps({"x": self.row.tolist()}).encode(),
        }


def write_settings(root: Path, serve: dict[str, Any]) -> None:
    """Write a project's settings file."""
    lines = [f'[project]\nname = "{NAME}"\ntask = "multiclass"', "[serve]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in serve.items()]
    (root / settings.FILE).write_text("\n".join(lines) + "\n")


def make(name: str, root: Path) -> Subject:
    """Build two versions of a model and put them into a registry."""
    build, shape = MODELS[name]
    root.mkdir()
    write_settings(root, {})
    tree = settings.load(root)
    store = registry.open_registry(tree)
    tags = []
    for seed in range(2):
        torch.manual_seed(seed)
        folder = root / f"artifact-{seed}"
        pack.pack(build().eval(), _parts(shape, seed), folder)
        tags.append(store.add(folder))
    return Subject(name, tree, tags[0], tags[1], _draw(shape, 1, seed=9))


def _parts(shape: tuple[int, ...], seed: int) -> pack.PackParts:
    targets = np.arange(ROWS) % len(CLASSES)
    split = project.Split(inputs={"x": _draw(shape, ROWS, seed)}, targets=targets)
    return pack.PackParts(
        name=NAME,
        task="multiclass",
        data=project.Data(train=split, validation=split, holdout=split, classes=CLASSES),
        card={"name": NAME},
        accepted=0.1,
        accepted_rows=ROWS,
        created_at=float(seed),
    )


def _draw(shape: tuple[int, ...], rows: int, seed: int) -> npt.NDArray[np.float32]:
    # Like grey values of pixels, so that JSON is as long as that of real ones.
    grey = np.random.default_rng(seed).integers(0, 256, size=(rows, *shape))
    return np.asarray(np.round(grey / 255, 4), dtype=np.float32)
