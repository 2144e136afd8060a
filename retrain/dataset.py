"""Training data out of production: predictions joined with their labels, and kept apart fairly.

Which rows: the most recent labelled ones, up to `retrain.max_production_rows`, whatever version
answered them; only their inputs and labels are used, never an answer. A request whose inputs were
not stored (capture policy), do not fit the model, or whose labels do not, is left out and counted.

Who sees them: a keyed hash of the request id sends a share of the requests to the *held-back* part,
which no training ever sees. The hash does not know when or how often it is asked, so a request
stays on its side in every later retraining and a candidate is never judged on rows that one of its
ancestors learned from.

How much they weigh: training on reference and production together, production rows are repeated a
whole number of times until they weigh about as much as the reference (never less than once). The
reference keeps what the model knew; the repetition lets some hundred fresh rows be heard beside
thousands of old ones. Nothing is drawn, so the same log gives the same data.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from coppice import errors, labels, project, records, settings
from coppice.eventlog import base

_NO_SLICE = ""


class IndexedLog(base.EventLog, base.EventIndex, Protocol):
    """A log that can also look events up; the local one can."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Production:
    """Labelled production rows, oldest first, in two parts that share no request.

    Attributes
    ----------
    train
        Rows to learn from; may be none.
    held_back
        Rows to judge on; may be none.
    skipped
        Labelled requests that could not be used, by reason.
    sources
        Rows by source of their labels.
    """

    train: project.Split
    held_back: project.Split
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows in both parts."""
        return self.train.rows + self.held_back.rows


class LabelledRequests:
    """The most recent feedback, by request: the first label of a request stands.

    Parameters
    ----------
    limit
        Most rows kept; older requests are forgotten first.

    Examples
    --------
    >>> kept = LabelledRequests(limit=2)
    >>> for request_id in ("a", "b", "b", "c"):
    ...     kept.add(records.Feedback(
    ...         request_id=request_id, model="m", labels=(1,), labelled_at=0.0))
    >>> [feedback.request_id for feedback in kept], kept.rows
    (['b', 'c'], 2)
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, records.Feedback] = {}
        self.rows = 0

    def __iter__(self) -> Iterator[records.Feedback]:
        return iter(self._kept.values())

    def add(self, feedback: records.Feedback) -> None:
        """Remember a request's labels unless it has some already."""
        if feedback.request_id in self._kept:
            return
        self._kept[feedback.request_id] = feedback
        self.rows += len(feedback.labels)
        while self.rows > self._limit and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self.rows -= len(self._kept.pop(oldest).labels)


class _Example(NamedTuple):
    """One labelled request, joined."""

    time: float
    request_id: str
    inputs: dict[str, project.Array]
    targets: labels.Floats
    slices: dict[str, str]
    source: str


class _Unusable(Exception):
    """A labelled request cannot be learned from; the message is the reason to count."""


def collect(
    log: base.EventIndex,
    feedback: Iterable[records.Feedback],
    reference: project.Data,
    tree: settings.Settings,
) -> Production:
    """Join feedback with the predictions it is about, and split them into the two parts.

    Parameters
    ----------
    reference
        The project's own data, whose training split says which inputs a row needs.
    """
    examples: list[_Example] = []
    skipped: collections.Counter[str] = collections.Counter()
    for found in feedback:
        try:
            examples.append(_join(log, found, reference, tree.project.task))
        except _Unusable as reason:
            skipped[str(reason)] += 1
    examples.sort(key=lambda example: (example.time, example.request_id))
    key = tree.serve.routing_key_secret.get_secret_value()
    held = [is_held_back(key, example.request_id, tree.retrain.holdback) for example in examples]
    like = reference.train
    sources: collections.Counter[str] = collections.Counter()
    for example in examples:
        sources[example.source] += len(example.targets)
    return Production(
        train=_stack([e for e, kept in zip(examples, held, strict=True) if not kept], like),
        held_back=_stack([e for e, kept in zip(examples, held, strict=True) if kept], like),
        skipped=dict(sorted(skipped.items())),
        sources=dict(sorted(sources.items())),
    )


def is_held_back(key: str, request_id: str, share: float) -> bool:
    """Say on which side a request lies; the answer never changes while key and share stay.

    >>> is_held_back("key", "request", 0.0), is_held_back("key", "request", 1.0)
    (False, True)
    """
    return labels.unit_interval(key, "held-back", request_id) < share


def _join(
    log: base.EventIndex,
    feedback: records.Feedback,
    reference: project.Data,
    task: labels.Task,
) -> _Example:
    event, prediction = _prediction(log, feedback)
    if prediction.error is not None:
        raise _Unusable("the request failed")
    inputs = _inputs(prediction, reference.train)
    try:
        targets = labels.to_targets(feedback.labels, task, reference.classes)
    except errors.RequestError as cause:
        raise _Unusable("a label does not fit the model") from cause
    if any(len(array) != len(targets) for array in inputs.values()):
        raise _Unusable("there is not one label per row")
    return _Example(
        time=event.time,
        request_id=feedback.request_id,
        inputs=inputs,
        targets=targets,
        slices=prediction.slices,
        source=feedback.source,
    )


def _prediction(
    log: base.EventIndex, feedback: records.Feedback
) -> tuple[records.Event, records.Prediction]:
    for event in log.find(feedback.request_id, records.Prediction):
        try:
            record = records.unseal(event)
        except errors.UndecodableEvent as cause:
            raise _Unusable("the prediction does not decode") from cause
        if isinstance(record, records.Prediction) and record.model == feedback.model:
            return event, record
    raise _Unusable("the prediction is not in the log")


def _inputs(prediction: records.Prediction, like: project.Split) -> dict[str, project.Array]:
    if set(prediction.inputs) != set(like.inputs):
        raise _Unusable("an input was not stored")
    inputs = {name: prediction.inputs[name].array() for name in like.inputs}
    for name, array in inputs.items():
        expected = like.inputs[name]
        if array.dtype != expected.dtype or array.shape[1:] != expected.shape[1:]:
            raise _Unusable("an input does not fit the model")
    return inputs


def _stack(examples: Sequence[_Example], like: project.Split) -> project.Split:
    families = sorted({family for example in examples for family in example.slices})
    rows = [len(example.targets) for example in examples]
    return project.Split(
        inputs={
            name: np.concatenate([array[:0], *(example.inputs[name] for example in examples)])
            for name, array in like.inputs.items()
        },
        targets=np.concatenate(
            [np.empty(0), *(example.targets for example in examples)],
            dtype=like.targets.dtype,
            casting="unsafe",
        ),
        slices={
            family: np.repeat([e.slices.get(family, _NO_SLICE) for e in examples], rows)
            for family in families
        },
    )


def combine(reference: project.Split, production: project.Split) -> project.Split:
    """Put production rows behind the reference, repeated until they weigh about as much.

    >>> reference = project.Split(inputs={"x": np.zeros(7)}, targets=np.zeros(7))
    >>> fresh = project.Split(inputs={"x": np.ones(2)}, targets=np.ones(2))
    >>> combine(reference, fresh).targets.tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if production.rows == 0:
        return reference
    times = max(1, reference.rows // production.rows)
    return concatenate([reference, *[production] * times])


def concatenate(splits: Sequence[project.Split]) -> project.Split:
    """Put splits behind each other; a slice family that one lacks has no value there."""
    first = splits[0]
    families = sorted({family for split in splits for family in split.slices})
    return project.Split(
        inputs={
            name: np.concatenate([split.inputs[name] for split in splits]) for name in first.inputs
        },
        targets=np.concatenate([split.targets for split in splits]).astype(first.targets.dtype),
        slices={
            family: np.concatenate([_slice(split, family) for split in splits])
            for family in families
        },
    )


def _slice(split: project.Split, family: str) -> project.Array:
    known = split.slices.get(family)
    return np.full(split.rows, _NO_SLICE) if known is None else known
