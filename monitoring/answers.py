"""Answers and labels, one number per row, so that tens of thousands of them fit in memory.

A classification's answer is the index of the class it names, a regression's is its value. The rules
of scoring are those of `coppice.labels`, here for single rows; a test holds the two together.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from coppice import artifact, errors, labels, records

Answers: TypeAlias = tuple[float, ...]
"""One number per row of a request."""


MOST_KEPT = 32
"""Classifications of more classes keep no scores: 50,000 requests wait for labels."""
LEAST_SCORE = 1e-12
"""Stands in for a score of nought, so that its logarithm exists."""


class Certainty(NamedTuple):
    """How sure an answer was; `None` where its scores are not known."""

    confidence: float | None
    surprise: float | None


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

    def kept_scores(self, outputs: Mapping[str, records.Tensor]) -> bytes:
        """Return the scores of an answer as they travel, where they are worth the memory.

        They are kept of each request that waits for a label: of classifications of at most
        `MOST_KEPT` classes; else nothing is.
        """
        tensor = outputs.get("scores")
        few = 0 < len(self.classes) <= MOST_KEPT
        return tensor.data if few and tensor is not None and tensor.dtype == "float32" else b""

    def certainty(self, scores: bytes, answer: float, target: float, row: int) -> Certainty:
        """Say how sure a row's answer was, and how surprising the truth.

        >>> import numpy as np
        >>> scores = np.array([[0.25, 0.75]], dtype="<f4").tobytes()
        >>> Scoring("binary", ("no", "yes"), 1.0).certainty(scores, 1.0, 0.0, row=0)
        Certainty(confidence=0.75, surprise=1.3862943611198906)
        """
        classes = len(self.classes)
        if not scores:
            return Certainty(None, None)
        start = 4 * classes * row
        given = struct.unpack_from(f"<{classes}f", scores, start)
        return Certainty(given[int(answer)], -math.log(max(given[int(target)], LEAST_SCORE)))

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

    def differ(self, first: float, second: float) -> bool:
        """Say whether two answers differ; the rule is that of `labels.differ`.

        >>> Scoring("regression", (), 4.0).differ(2.0, 2.2)
        False
        """
        return self.divergence(first, second) > labels.tolerance(self.task)
