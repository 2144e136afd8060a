"""Answers and labels, one number per row, so that tens of thousands of them fit in memory.

A classification's answer is the index of the class it names, a regression's is its value. The rules
of scoring are those of `coppice.labels`, here for single rows; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from coppice import artifact, errors, labels, records

Answers: TypeAlias = tuple[float, ...]
"""One number per row of a request."""


class Scoring(NamedTuple):
    """How the answers of one model are compared with the truth and with each other."""

    task: labels.Task
    classes: tuple[str, ...]
    scale: float

    @classmethod
    def of(cls, manifest: artifact.Manifest) -> Scoring:
        """Take the rules from a version's manifest."""
        return cls(task=manifest.task, classes=manifest.classes, scale=manifest.scale)

    def answers(self, outputs: Mapping[str, records.Tensor]) -> Answers:
        """Reduce a version's public answer to one number per row.

        >>> import numpy as np
        >>> scores = records.Tensor.of(np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32))
        >>> Scoring("binary", ("no", "yes"), 1.0).answers({"scores": scores})
        (1.0, 0.0)

        Raises
        ------
        UndecodableEvent
            There are no scores, or their shape is not that of this task's answers.
        """
        tensor = outputs.get("scores")
        dimensions = 1 if self.task == "regression" else 2
        if tensor is None or len(tensor.shape) != dimensions:
            message = f"an answer holds no `scores` of {dimensions} dimensions"
            raise errors.UndecodableEvent(message)
        scores = tensor.array()
        reduced = scores if self.task == "regression" else scores.argmax(axis=1)
        return tuple(map(float, reduced.tolist()))

    def targets(self, values: Sequence[records.Label]) -> Answers:
        """Turn labels as people write them into numbers; see `labels.to_targets`.

        >>> Scoring("binary", ("no", "yes"), 1.0).targets(["yes", 0])
        (1.0, 0.0)

        Raises
        ------
        RequestError
            A label is no class of this model, or no finite number for a regression.
        """
        return tuple(labels.to_targets(values, self.task, self.classes).tolist())

    def score(self, answer: float, target: float) -> float:
        """Score one answer in [0, 1].

        >>> Scoring("regression", (), 4.0).score(3.0, 4.0)
        0.75
        """
        if self.task == "regression":
            return 1.0 - min(abs(answer - target) / self.scale, 1.0)
        return float(answer == target)

    def divergence(self, first: float, second: float) -> float:
        """Bound the difference of two answers' scores whatever the truth, in [0, 1].

        >>> Scoring("binary", ("no", "yes"), 1.0).divergence(0.0, 1.0)
        1.0
        """
        if self.task == "regression":
            return min(abs(first - second) / self.scale, 1.0)
        return float(first != second)
