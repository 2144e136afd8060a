"""What widths really cost in score: cut, train for a while, and compare with the null control.

A probe is the recipe's own course with explicit amounts and a stated, short recovery; its drop is
taken against the dense model trained just as long, on validation rows. So it is fair to the pruning
but not the last word: the recipe's full recovery usually gives some of the drop back.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from torch import nn

from coppice import settings
from coppice.labels import Floats
from retrain import recovery, train, weights
from retrain.evaluate import evaluation
from retrain.pruning import surgery
from retrain.search import store, subject, widths


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Widths after a short recovery, against the null control on validation rows."""

    score: float
    control: float
    """Mean score of the null control."""
    drop: float
    """Mean score lost against the control."""
    low: float
    """Lower end of the drop's confidence interval."""
    high: float
    worst_slice: str
    """The slice of enough rows that loses most; empty where there is none."""
    slice_drop: float
    slice_low: float
    """Highest lower end of the slices' intervals, which share the chance of a false alarm."""
    surgery: str
    """The record of the cut, JSON."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The null control; its weights lie beside it."""

    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """What a pruning may lose.

    Attributes
    ----------
    drop
        Mean score over all validation rows, as observed.
    slice_drop
        The same of the worst slice, as shown: slices are small, and the worst of many looks bad by
        chance, so only the lower end of its interval counts.
    """

    drop: float
    slice_drop: float

    def met_by(self, probe: Probe) -> bool:
        """Say whether a probe loses no more than this.

        >>> probe = Probe(score=0.9, control=0.91, drop=0.01, low=0.0, high=0.02, worst_slice="a",
        ...     slice_drop=0.08, slice_low=-0.01, surgery="")
        >>> Budget(drop=0.01, slice_drop=0.05).met_by(probe)
        True
        """
        return self.excess(probe) <= 0.0

    def excess(self, probe: Probe) -> float:
        """Return by how much a probe loses more than is allowed; 0 or below where it does not."""
        return max(probe.drop - self.drop, probe.slice_low - self.slice_drop)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How long a probe trains: passes over at most so many training rows."""

    epochs: int
    rows: int


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
        self._effort = effort
        self._findings = findings
        self._control: Floats | None = None

    def probe(self, kept: widths.Widths, told: Callable[[float], None]) -> Probe:
        """Return what widths lose; `control` was called before.

        Parameters
        ----------
        told
            The share that is done; may raise to stop.

        Raises
        ------
        PruningError
            The recipe cannot be carried out at these widths.
        """
        key = self._key("probe", kept)
        known = self._findings.get(key, Probe)
        if known is None or not self._weights(key).is_file():
            told(0.0)
            course, model = self._course(kept), self._of.copy()
            record = course.prune(model, lambda share: told(share / 2))
            course.recover(model, lambda share: told(0.5 + share / 2))
            known = self._compared(model, record)
            self._keep(key, model, known)
        told(1.0)
        return known

    def control(self, told: Callable[[float], None]) -> None:
        """Train the null control, or take it from the last time."""
        key, model = self._key("control", {}), self._of.copy()
        if self._findings.get(key, Control) is not None and self._weights(key).is_file():
            weights.load(model, self._weights(key)).eval()
        else:
            told(0.0)
            self._course({}).control(model, told)
            score = train.score(model, self._of.validation, self._of.task, self._of.scale)
            self._keep(key, model, Control(score=score))
        self._control = train.predict(model, self._of.validation.inputs, task=self._of.task)
        told(1.0)

    def model(self, kept: widths.Widths) -> nn.Module:
        """Return the model of a probe that was made, in evaluation mode."""
        key = self._key("probe", kept)
        probe = self._findings.get(key, Probe)
        assert probe is not None
        model = surgery.replay(self._of.copy(), surgery.Surgery.from_json(probe.surgery))
        return weights.load(model, self._weights(key)).eval()

    def _course(self, kept: widths.Widths) -> recovery.Course:
        of = self._of
        return recovery.Course(
            recipe=of.recipe_for(kept, finetune_epochs=self._effort.epochs),
            task=of.task,
            seed=of.seed,
            section=self._section,
            teacher=of.model,
            training=of.training,
            recovery=subject.spread(of.training, self._effort.rows),
        )

    def _compared(self, model: nn.Module, record: surgery.Surgery) -> Probe:
        assert self._control is not None
        of = self._of
        answers = train.predict(model, of.validation.inputs, task=of.task)
        table = evaluation.tabulate(
            {"null": self._control, "candidate": answers}, of.validation, self._rules
        )
        whole = table.comparisons["null"]
        judged = {
            name: found
            for name, found in table.slices.items()
            if found.rows >= self._rules.min_slice_rows
        }
        worst = max(judged, key=lambda name: judged[name].drop, default="")
        shown = max((found.low for found in judged.values()), default=0.0)
        return Probe(
            score=table.score("candidate"),
            control=table.score("null"),
            drop=whole.drop,
            low=whole.low,
            high=whole.high,
            worst_slice=worst,
            slice_drop=judged[worst].drop if worst else 0.0,
            slice_low=shown,
            surgery=record.to_json(),
        )

    def _key(self, finding: str, kept: widths.Widths) -> store.Key:
        made = self._of.recipe_for(kept, finetune_epochs=self._effort.epochs)
        return {
            **self._of.key,
            "finding": finding,
            "recipe": made.to_json(),
            "rows": self._effort.rows,
            "train": self._section.model_dump(mode="json"),
            "rules": msgspec.to_builtins(self._rules),
        }

    def _weights(self, key: store.Key) -> Path:
        return self._findings.path(key, ".safetensors")

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
