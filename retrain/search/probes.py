"""What a shape really costs in score: cut, train for a while, and compare with the null control.

A probe is the recipe's own course with explicit amounts and a stated, short recovery; its drop is
taken against the dense model trained just as long, on validation rows. Shapes of about the same
cost race first: each recovers for a quarter of that, and only the best goes on to a whole probe.

The recipe's own recovery is longer, and gives some of the drop back; what is left then is forecast.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from coppice import project, settings
from coppice.labels import Floats
from retrain import phases, recovery, store, train, weights
from retrain.evaluate import evaluation
from retrain.pruning import surgery
from retrain.search import forecast, subject

QUARTER = 4
"""A race is so many times shorter than a probe."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A shape after a short recovery, against the null control on validation rows."""

    score: float
    control: float
    """Mean score of the null control."""
    drop: float
    """Mean score lost against the control."""
    low: float
    """Lower end of the drop's confidence interval."""
    high: float
    expected: forecast.Forecast
    """After the recipe's whole recovery; not measured."""
    worst_slice: str
    """The slice of enough rows that loses most; empty where there is none."""
    slice_drop: float
    slice_low: float
    """Highest lower end of the slices' intervals, which share the chance of a false alarm."""
    surgery: str
    """The record of the cut, JSON."""


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A mean score on validation rows: of the null control, or of a shape in a race."""

    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """What a pruning may lose.

    Attributes
    ----------
    drop
        Mean score over all validation rows, as expected after the recipe's whole recovery.
    slice_drop
        The same of the worst slice, as shown: slices are small, and the worst of many looks bad by
        chance, so only the lower end of its interval counts.
    """

    drop: float
    slice_drop: float

    def met_by(self, probe: Probe) -> bool:
        """Say whether a probe loses no more than this.

        >>> after = forecast.Forecast(loss=0.01, low=0.0, high=0.02, left=0.5,
        ...     control_gain=0.0)
        >>> probe = Probe(score=0.89, control=0.91, drop=0.02, low=0.0, high=0.04, expected=after,
        ...     worst_slice="a", slice_drop=0.08, slice_low=-0.01, surgery="")
        >>> Budget(drop=0.01, slice_drop=0.05).met_by(probe)
        True
        """
        return self.excess(probe) <= 0.0

    def excess(self, probe: Probe) -> float:
        """Return by how much a probe loses more than is allowed; 0 or below where it does not."""
        lost = max(probe.slice_low, 0.0) * probe.expected.left
        return max(probe.expected.loss - self.drop, lost - self.slice_drop)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How long a probe trains: passes over at most so many training rows."""

    epochs: int
    rows: int

    def quarter(self) -> Effort:
        """Return the effort of a race: as many passes over a quarter of the rows."""
        return dataclasses.replace(self, rows=max(self.rows // QUARTER, 2))


class Prober:
    """Makes probes, each once.

    Parameters
    ----------
    of
        The dense model.
    section
        `[train]`.
    rules
        How to score and how sure to be.
    effort
        Of the short recovery.
    findings
        Where probes are kept, with their weights.
    """

    def __init__(
        self,
        of: subject.Subject,
        *,
        section: settings.TrainSettings,
        rules: evaluation.Rules,
        effort: Effort,
        findings: store.Store,
    ) -> None:
        self._of = of
        self._section = section
        self._rules = rules
        self._effort = dataclasses.replace(effort, rows=min(effort.rows, of.training.rows))
        self._findings = findings
        self._cuts: dict[tuple[str, int], tuple[nn.Module, surgery.Surgery]] = {}
        self._controls: dict[int, Floats] = {}

    def race(self, shapes: Sequence[subject.Shape], told: Callable[[float], None]) -> subject.Shape:
        """Return the shape that scores best after a quarter of a probe; ties to the earlier one."""
        # Cuts of the race before would only take memory.
        self._cuts.clear()
        if len(shapes) == 1:
            return shapes[0]
        scores = [
            self._raced(shape, phases.part(told, at, len(shapes)))
            for at, shape in enumerate(shapes)
        ]
        return shapes[scores.index(max(scores))]

    def _raced(self, shape: subject.Shape, told: Callable[[float], None]) -> float:
        effort = self._effort.quarter()
        key = self._key("race", shape, effort)
        known = self._findings.get(key, Scored)
        if known is None:
            told(0.0)
            of, course = self._of, self._course(shape, effort)
            model, _ = self._cut(course)
            course.recover(model, told)
            known = Scored(score=train.score(model, of.validation, of.task, of.scale))
            self._findings.put(key, known)
        return known.score

    def probe(self, shape: subject.Shape, told: Callable[[float], None]) -> Probe:
        """Return what a shape loses.

        Parameters
        ----------
        told
            The share that is done; may raise to stop.

        Raises
        ------
        PruningError
            The recipe cannot be carried out.
        """
        key = self._key("probe", shape, self._effort)
        known = self._findings.get(key, Probe)
        if known is None or not self._weights(key).is_file():
            told(0.0)
            course = self._course(shape, self._effort)
            model, record = self._cut(course)
            control = self._answers(course, recovery.silent)
            course.recover(model, told)
            known = self._compared(model, record, control)
            self._keep(key, model, known)
        told(1.0)
        return known

    def _cut(self, course: recovery.Course) -> tuple[nn.Module, surgery.Surgery]:
        """Return a cut model that may be trained; a race and the probe after it share the cut."""
        # What is trained before the last cut follows from the rows, too.
        trained = course.epochs > course.recipe.finetune_epochs
        name = (course.recipe.to_json(), course.recovery.rows if trained else 0)
        if name not in self._cuts:
            model = self._of.copy()
            self._cuts[name] = (model, course.prune(model))
        model, record = self._cuts[name]
        return copy.deepcopy(model), record

    def control(self, told: Callable[[float], None]) -> None:
        """Train the null control of a recipe in one cut, or take it from the last time."""
        self._answers(self._course(subject.Shape(0, {}), self._effort), told)
        told(1.0)

    def _answers(self, course: recovery.Course, told: Callable[[float], None]) -> Floats:
        """Return the answers of the dense model trained as long as a course trains in all."""
        if course.epochs not in self._controls:
            of, model = self._of, self._of.copy()
            key = self._control_key(course)
            if self._findings.get(key, Scored) is not None and self._weights(key).is_file():
                weights.load(model, self._weights(key)).eval()
            else:
                told(0.0)
                course.control(model, told)
                score = train.score(model, of.validation, of.task, of.scale)
                self._keep(key, model, Scored(score=score))
            answers = train.predict(model, of.validation.inputs, task=of.task)
            self._controls[course.epochs] = answers
        return self._controls[course.epochs]

    def model(self, shape: subject.Shape) -> nn.Module:
        """Return the model of a probe that was made, in evaluation mode."""
        key = self._key("probe", shape, self._effort)
        probe = self._findings.get(key, Probe)
        assert probe is not None
        model = surgery.replay(self._of.copy(), surgery.Surgery.from_json(probe.surgery))
        return weights.load(model, self._weights(key)).eval()

    def _course(self, shape: subject.Shape, effort: Effort) -> recovery.Course:
        of, every = self._of, self._rows.rows // effort.rows
        return recovery.Course(
            recipe=of.recipe_for(shape, finetune_epochs=effort.epochs),
            task=of.task,
            seed=of.seed,
            section=self._section,
            teacher=self._taught[::every],
            training=of.training,
            recovery=self._rows.take(np.arange(0, self._rows.rows, every)),
        )

    @functools.cached_property
    def _rows(self) -> project.Split:
        return subject.spread(self._of.training, self._effort.rows)

    @functools.cached_property
    def _taught(self) -> torch.Tensor:
        """The dense model's answers, which every probe learns from."""
        with self._of.asking():
            return train.raw(self._of.model, self._rows, self._of.task).float()

    def _compared(self, model: nn.Module, record: surgery.Surgery, control: Floats) -> Probe:
        of = self._of
        answers = train.predict(model, of.validation.inputs, task=of.task)
        table = evaluation.tabulate(
            {"null": control, "candidate": answers}, of.validation, self._rules
        )
        whole = table.comparisons["null"]
        judged = {
            name: found
            for name, found in table.slices.items()
            if found.rows >= self._rules.min_slice_rows
        }
        worst = max(judged, key=lambda name: judged[name].drop, default="")
        shown = max((found.low for found in judged.values()), default=0.0)
        whole_recovery = of.base.finetune_epochs * of.training.rows
        times = whole_recovery / (self._effort.epochs * self._rows.rows)
        return Probe(
            score=table.score("candidate"),
            control=table.score("null"),
            drop=whole.drop,
            low=whole.low,
            high=whole.high,
            expected=forecast.after(
                forecast.Loss(whole.drop, whole.low, whole.high), table.score("null"), times
            ),
            worst_slice=worst,
            slice_drop=judged[worst].drop if worst else 0.0,
            slice_low=shown,
            surgery=record.to_json(),
        )

    def _key(self, finding: str, shape: subject.Shape, effort: Effort) -> store.Key:
        return {
            **self._trained(effort),
            "finding": finding,
            "recipe": self._of.recipe_for(shape, finetune_epochs=effort.epochs).to_json(),
            "whole": self._of.base.finetune_epochs,
            "rules": msgspec.to_builtins(self._rules),
        }

    def _control_key(self, course: recovery.Course) -> store.Key:
        how = course.recipe
        return {
            **self._trained(self._effort),
            "finding": "control",
            "epochs": course.epochs,
            "how": [how.learning_rate, how.distill_weight, how.temperature, how.precision],
        }

    def _trained(self, effort: Effort) -> store.Key:
        return {
            **self._of.key,
            "rows": effort.rows,
            "train": self._section.model_dump(mode="json"),
        }

    def _weights(self, key: store.Key) -> Path:
        return self._findings.path(key, store.ARRAYS)

    def _keep(self, key: store.Key, model: nn.Module, finding: msgspec.Struct) -> None:
        """Write weights, then the finding, so that one which can be read has its weights."""
        keep(model, self._weights(key))
        self._findings.put(key, finding)


def keep(model: nn.Module, path: Path) -> None:
    """Write a model's weights so that the file is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name per process, so that two that make the same model do not write into one file.
    part = path.with_suffix(f".{os.getpid()}.part")
    weights.save(model, part)
    part.replace(path)
