"""What pruning as such harms, apart from one run's luck: many prunings against many null controls.

One pruned model differs from its parent by its pruning and by the chance of its training. Hooker
and others compare populations: the label that most of K pruned models give a row, against the one
that most of K unpruned models do. Rows where the two differ are pruning-identified exemplars (PIE).
Theirs are trained from scratch; ours start from the one dense parent, as every candidate does, and
differ by the seed of cut and recovery.

References
----------
Hooker, Courville, Clark, Dauphin, Frome, What do compressed deep neural networks forget?, 2019.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coppice.labels import Floats
from retrain import recovery, train
from retrain.evaluate import disagreement, evaluation, section


class Populations(NamedTuple):
    """Answers of both arms: [models, rows, classes], or [models, rows] for a regression."""

    pruned: Floats
    control: Floats


def grow(subject: section.Subject, inputs: Any, *, count: int) -> Populations:
    """Prune and recover the dense parent under `count` seeds, and as often recover it unpruned."""
    arms: dict[bool, list[Floats]] = {True: [], False: []}
    for number in range(1, count + 1):
        for pruned, answers in arms.items():
            model = _raise(subject, subject.rules.seed + number, pruned=pruned)
            answers.append(train.predict(model, inputs, task=subject.rules.task))
    return Populations(np.stack(arms[True]), np.stack(arms[False]))


def _raise(subject: section.Subject, seed: int, *, pruned: bool) -> Any:
    parent = subject.models["parent"]
    course = recovery.Course(
        recipe=subject.recipe,
        task=subject.rules.task,
        seed=seed,
        section=subject.own.settings.train,
        teacher=parent,
        training=subject.training,
        recovery=subject.training,
    )
    model = copy.deepcopy(parent)
    if pruned:
        course.prune(model)
        course.recover(model)
    else:
        course.control(model)
    return model.eval()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exemplars:
    """Rows that pruning as such answers differently.

    Attributes
    ----------
    mask
        The rows [rows].
    noise
        Share of rows where the two halves of the null controls differ in the same way; `None` with
        fewer than four of them.
    control, pruned
        What each arm answers, most of its models agreeing, in the shape of one model's answers.
    """

    mask: npt.NDArray[np.bool_]
    noise: float | None
    control: Floats
    pruned: Floats


def compare(both: Populations, rules: evaluation.Rules) -> Exemplars:
    """Find the rows where the two arms differ."""
    control, pruned = modal(both.control, rules), modal(both.pruned, rules)
    noise = None
    if len(both.control) >= 4:
        halves = [modal(both.control[start::2], rules) for start in (0, 1)]
        noise = float(disagreement.differ(halves[0], halves[1], rules).mean())
    return Exemplars(
        mask=disagreement.differ(control, pruned, rules),
        noise=noise,
        control=control,
        pruned=pruned,
    )


def modal(answers: Floats, rules: evaluation.Rules) -> Floats:
    """Return what most models answer: shares of votes [rows, classes], or the median [rows].

    Between classes with equally many votes the higher mean probability decides.

    >>> votes = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.45, 0.55]]])
    >>> modal(votes, evaluation.Rules(task="binary")).argmax(axis=1).tolist()
    [1]
    """
    if rules.task == "regression":
        return np.asarray(np.median(answers, axis=0))
    models, _, classes = answers.shape
    votes = np.eye(classes)[answers.argmax(axis=2)].mean(axis=0)
    # The mean probability counts for less than any one vote.
    return np.asarray(votes + answers.mean(axis=0) / (2 * models))
