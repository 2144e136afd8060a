"""The trainings of the pruning bench: each is made once and kept, so that a killed bench goes on.

Kept under build/bench-pruning: a JSON of figures and the weights of every training. Nothing of a
kept training is repeated as long as its name, which holds all that it follows from, is the same.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pruning_nets
import torch
from torch import nn

from coppice.project import Data, Split
from coppice.settings import TrainSettings
from retrain import network, recovery, train, weights
from retrain.pruning import criteria, recipe, schedule, surgery, units

TASK = "multiclass"
SECTION = TrainSettings(batch_size=128)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is trained.

    Attributes
    ----------
    folder
        Where trainings are kept.
    parent_epochs
        Passes of the dense parent over the training rows.
    half
        Rows of one short pass of recovery.
    seeds
        Of parent, cut and recovery.
    """

    folder: Path
    parent_epochs: int
    half: int
    seeds: tuple[int, ...]


class Runs:
    """Makes the trainings of a plan, or reads them.

    Parameters
    ----------
    data
        Fashion-MNIST, or a part of it.
    """

    def __init__(self, plan: Plan, data: Data) -> None:
        self.plan = plan
        self.data = data
        self._parents: dict[tuple[str, int], nn.Module] = {}
        self._answers: dict[tuple[str, int, int], torch.Tensor] = {}

    def parent(self, net: str, seed: int) -> nn.Module:
        """Return a dense network trained on all rows."""
        if (net, seed) not in self._parents:
            self._parents[net, seed] = self._parent(net, seed)
        return self._parents[net, seed]

    def _parent(self, net: str, seed: int) -> nn.Module:
        path = self.plan.folder / f"{net}-{seed}.safetensors"
        model = build(net, seed)
        if path.is_file():
            return weights.load(model, path).eval()
        plan = train.FitPlan(
            task=TASK,
            epochs=self.plan.parent_epochs,
            batch_size=SECTION.batch_size,
            learning_rate=4e-3,
            seed=seed,
            precision="bf16",
        )
        train.fit(model, self.data.train, plan)
        path.parent.mkdir(parents=True, exist_ok=True)
        weights.save(model, path)
        return model

    def short(self) -> Split:
        """Return the rows of a short pass."""
        return self.data.train.take(np.arange(self.plan.half))

    def pruned(
        self, net: str, seed: int, name: str, how: recipe.Recipe, rows: Split | None = None
    ) -> dict[str, Any]:
        """Prune a copy of a parent and recover it; return its figures.

        A criterion with a penalty trains sparse first, on the short rows, and recovers for one pass
        less: every criterion has seen as many rows as often. One sparse training serves all rates.
        """

        def make() -> tuple[nn.Module, surgery.Surgery]:
            model, plan = copy.deepcopy(self.parent(net, seed)), how
            if criteria.load(how.criterion).penalty is not None and rows is None:
                model = copy.deepcopy(self._sparse(net, seed, how))
                shorter = how.finetune_epochs - 1
                plan = dataclasses.replace(how, sparse_epochs=0, finetune_epochs=shorter)
            course = self._course(net, seed, plan, rows)
            cut = course.prune(model)
            course.recover(model)
            return model, cut

        return self._kept(net, seed, name, make)

    def control(
        self, net: str, seed: int, name: str, how: recipe.Recipe, rows: Split | None = None
    ) -> dict[str, Any]:
        """Train a copy of a parent for as long as a pruned one, unpruned; return its figures."""

        def make() -> tuple[nn.Module, surgery.Surgery]:
            model = copy.deepcopy(self.parent(net, seed))
            # With its best precision: it is the one to beat.
            plan = dataclasses.replace(how, precision="bf16")
            self._course(net, seed, plan, rows).control(model)
            return model, surgery.Surgery()

        return self._kept(net, seed, name, make)

    def rebuilt(self, net: str, seed: int, name: str) -> nn.Module:
        """Return the model of a kept training."""
        base = self._base(net, seed, name)
        model = build(net, seed)
        surgery.replay(
            model, surgery.Surgery.from_json(base.with_name(base.name + ".surgery").read_bytes())
        )
        return weights.load(model, base.with_name(base.name + ".safetensors")).eval()

    def _course(
        self, net: str, seed: int, how: recipe.Recipe, rows: Split | None
    ) -> recovery.Course:
        return recovery.Course(
            recipe=how,
            task=TASK,
            seed=seed,
            section=SECTION,
            teacher=self._taught(net, seed, self.short() if rows is None else rows),
            training=self.data.train,
            recovery=self.short() if rows is None else rows,
        )

    def _sparse(self, net: str, seed: int, how: recipe.Recipe) -> nn.Module:
        base = self._base(net, seed, f"sparse-{how.criterion}")
        path = base.with_name(base.name + ".safetensors")
        model = build(net, seed)
        if path.is_file():
            return weights.load(model, path).eval()
        model = copy.deepcopy(self.parent(net, seed))
        build_penalty = criteria.load(how.criterion).penalty
        assert build_penalty is not None
        coupled = units.couple(model, self.data.train).groups
        plan = train.FitPlan(
            task=TASK,
            epochs=1,
            batch_size=SECTION.batch_size,
            learning_rate=how.learning_rate,
            distill_weight=how.distill_weight,
            seed=seed,
            precision="bf16",
            penalty=build_penalty(coupled, model, how.sparse_strength),
        )
        train.fit(model, self.short(), plan, teacher=self._taught(net, seed, self.short()))
        path.parent.mkdir(parents=True, exist_ok=True)
        weights.save(model, path)
        return model

    def _taught(self, net: str, seed: int, rows: Split) -> torch.Tensor:
        if (net, seed, rows.rows) not in self._answers:
            self._answers[net, seed, rows.rows] = train.raw(self.parent(net, seed), rows, TASK)
        return self._answers[net, seed, rows.rows]

    def _chosen(self, net: str, seed: int) -> npt.NDArray[np.int64]:
        """Return the classes that the dense parent gives to the test pictures."""
        answers = self._taught(net, seed, self.data.holdout)
        return answers.argmax(dim=1).numpy()

    def _base(self, net: str, seed: int, name: str) -> Path:
        return self.plan.folder / "runs" / f"{net}-{seed}-{name}"

    def _kept(
        self,
        net: str,
        seed: int,
        name: str,
        make: Callable[[], tuple[nn.Module, surgery.Surgery]],
    ) -> dict[str, Any]:
        base = self._base(net, seed, name)
        found = base.with_name(base.name + ".json")
        if found.is_file():
            read: dict[str, Any] = json.loads(found.read_text())
            return read
        base.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        model, cut = make()
        seconds = time.perf_counter() - start
        weights.save(model, base.with_name(base.name + ".safetensors"))
        base.with_name(base.name + ".surgery").write_text(cut.to_json())
        figures = {**self._figures(net, seed, model), "train_seconds": round(seconds, 1)}
        found.write_text(json.dumps(figures))
        print(f"{net} {seed} {name}: {figures}", flush=True)
        return figures

    def _figures(self, net: str, seed: int, model: nn.Module) -> dict[str, Any]:
        holdout = self.data.holdout
        answers = train.predict(model, holdout.inputs, task=TASK).argmax(axis=1)
        dense = self._chosen(net, seed)
        cost = schedule.cost(model, holdout)
        return {
            "accuracy": float((answers == holdout.targets).mean()),
            "validation": train.score(model, self.data.validation, TASK),
            "disagreement": float((answers != dense).mean()),
            "parameters": cost.parameters,
            "macs": cost.macs,
        }


def build(net: str, seed: int) -> nn.Module:
    """Return an untrained dense network."""
    return network.build(lambda: pruning_nets.ResidualNet(pruning_nets.WIDTHS[net]), seed=seed)
