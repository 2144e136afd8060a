"""The course of one pruning: cut by a recipe, training between the cuts, recovery after them.

Called by whatever makes a pruned model: the candidate's flow, the sections that need several, the
sweep and the search. The null control goes the same way without the cuts, so that it has seen as
many rows as often.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import nn

from coppice import labels, project, settings
from retrain import train
from retrain.pruning import connections, criteria, recipe, schedule, surgery

Progress = Callable[[float], None]
"""Told the share that is done; may raise to stop."""


Part = Callable[[str, float], None]
"""Told which training between two cuts is going on, and the share of it that is done."""


def silent(share: float) -> None:
    """Ignore progress."""
    del share


def untold(part: str, share: float) -> None:
    """Ignore what is going on between two cuts."""
    del part, share


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """How a model is pruned and trained again.

    Attributes
    ----------
    recipe, task, seed
        What is removed and how it recovers; every draw follows from the seed.
    section
        `[train]`: batch size and weight decay.
    teacher
        The dense parent, from whose answers is distilled, or its `train.raw` answers to the
        recovery rows.
    training
        Rows to score, trace and re-estimate on.
    recovery
        Rows that are learned from.
    part
        Told of the trainings before the last cut one by one, beside the progress of all of them.
    passes
        Turns epochs into passes over the recovery rows, where production weighs more by repetition.
    """

    recipe: recipe.Recipe
    task: labels.Task
    seed: int
    section: settings.TrainSettings
    teacher: nn.Module | torch.Tensor
    training: project.Split
    recovery: project.Split
    passes: Callable[[int], int] = int
    part: Part = untold

    def prune(self, model: nn.Module, progress: Progress = silent) -> surgery.Surgery:
        """Cut a copy of the teacher in place, training between the cuts; recovery is `recover`'s.

        Raises
        ------
        PruningError
            The recipe cannot be carried out on this model.
        """
        steps = _Steps(self._epochs_before(), progress)
        parts = self._parts()
        return schedule.prune(
            model,
            self.training,
            self.recipe,
            task=self.task,
            seed=self.seed,
            tune=lambda model, epochs, *, penalty=None, after_step=None: self._fit(
                model, epochs, steps.of(next(parts), self.part), penalty, after_step
            ),
        )

    def recover(self, model: nn.Module, progress: Progress = silent) -> None:
        """Fine-tune after the last cut; weights that it has set to zero stay zero."""
        epochs = self.recipe.finetune_epochs
        keep = connections.keeper(model, self.recipe.steps)
        self._fit(model, epochs, _Steps(self.passes(epochs), progress), None, keep)

    def control(self, model: nn.Module, progress: Progress = silent) -> None:
        """Train an unpruned copy of the teacher for as long as a pruned one is trained in all."""
        epochs = self.epochs
        self._fit(model, epochs, _Steps(self.passes(epochs), progress), None, None)

    @functools.cached_property
    def taught(self) -> torch.Tensor:
        """The teacher's answers to the recovery rows, asked for once."""
        if isinstance(self.teacher, torch.Tensor):
            return self.teacher
        return train.raw(self.teacher, self.recovery, self.task)

    @property
    def epochs(self) -> int:
        """Passes of all training of a pruned model, and of its null control."""
        return self._epochs_before() + self.recipe.finetune_epochs

    def _epochs_before(self) -> int:
        how = self.recipe
        sparse = [step for step in how.steps if criteria.load(step.criterion).penalty is not None]
        rounds = (len(how.dues) - 1) * len(how.steps)
        return len(sparse) * how.sparse_epochs + rounds * how.round_epochs

    def _parts(self) -> Iterator[str]:
        """Name the trainings before the last cut, in the order in which the schedule asks."""
        count = len(self.recipe.dues)
        for step in self.recipe.steps:
            if criteria.load(step.criterion).penalty is not None and self.recipe.sparse_epochs > 0:
                yield "sparse"
            word = step.level if self.recipe.then else "round"
            for number in range(2, count + 1):
                yield f"{word} {number} of {count}"

    def _fit(
        self,
        model: nn.Module,
        epochs: int,
        steps: _Steps,
        penalty: train.Penalty | None,
        after_step: train.AfterStep | None,
    ) -> None:
        if epochs == 0:
            return
        plan = train.FitPlan(
            task=self.task,
            epochs=self.passes(epochs),
            batch_size=self.section.batch_size,
            learning_rate=self.recipe.learning_rate,
            weight_decay=self.section.weight_decay,
            distill_weight=self.recipe.distill_weight,
            temperature=self.recipe.temperature,
            seed=self.seed,
            precision=cast("train.Precision", self.recipe.precision),
            penalty=penalty,
            after_step=after_step,
        )
        train.fit(
            model,
            self.recovery,
            plan,
            teacher=self.taught,
            progress=lambda epoch, _: steps.advance(epoch / plan.epochs),
        )


class _Steps:
    """Counts epochs over several trainings."""

    def __init__(self, count: int, progress: Progress) -> None:
        self._count = max(count, 1)
        self._done = 0
        self._progress = progress
        self._tell: Callable[[float], None] = silent

    def of(self, name: str, part: Part) -> _Steps:
        """Tell of this training, too, until the next one begins."""
        self._tell = functools.partial(part, name)
        return self

    def advance(self, share: float) -> None:
        """Count an epoch, after which so much of its own training is done."""
        self._done += 1
        self._progress(min(self._done / self._count, 1.0))
        self._tell(share)
