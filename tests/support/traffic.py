"""Events as a server would have written them, for tests of those who read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coppice import records

MODEL = "tiny"


def one_hot(answers: Sequence[int], classes: int = 2) -> dict[str, records.Tensor]:
    """Outputs that name these classes, one for each row."""
    scores = np.full((len(answers), classes), 0.1, dtype=np.float32)
    scores[np.arange(len(answers)), list(answers)] = 0.9
    return {"scores": records.Tensor.of(scores)}


def values(answers: Sequence[float]) -> dict[str, records.Tensor]:
    """Outputs of a regression, one for each row."""
    return {"scores": records.Tensor.of(np.array(answers, dtype=np.float32))}


def prediction(
    request_id: str, version: str, answers: Sequence[int], **fields: object
) -> records.Prediction:
    """An answered request of one row per answer, in the stable lane unless told otherwise."""
    return records.Prediction(
        **{
            "request_id": request_id,
            "model": MODEL,
            "version": version,
            "lane": "stable",
            "propensity": 1.0,
            "key_hash": "k",
            "outputs": one_hot(answers),
            "latency_seconds": 0.001,
            **fields,
        }
    )


def shadow(
    request_id: str, version: str, answers: Sequence[int], **fields: object
) -> records.Shadow:
    """A mirrored answer of the candidate against the stable version `tiny:stable`."""
    return records.Shadow(
        **{
            "request_id": request_id,
            "model": MODEL,
            "version": version,
            "role": "candidate",
            "against": "tiny:stable",
            "outputs": one_hot(answers),
            **fields,
        }
    )


def feedback(request_id: str, *given: records.Label) -> records.Feedback:
    """Labels, one for each row."""
    return records.Feedback(request_id=request_id, model=MODEL, labels=given, labelled_at=0.0)
