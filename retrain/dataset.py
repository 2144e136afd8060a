"""Training data out of production: predictions joined with their labels, and kept apart fairly.

Which rows: the most recent labelled ones, up to `retrain.max_production_rows`, whatever version
answered them; only their inputs and labels are used, never an answer. A request whose inputs were
not stored (capture policy), do not fit the model, or whose labels do not, is left out and counted.

Who sees them: a keyed hash of the request id sends a share of the requests to the *held-back* part,
which no training ever sees. The hash does not know when or how often it is asked, so a request
stays on its side in every later retraining and a candidate is never judged on rows that one of its
ancestors learned from.

How much they weigh: the rows since the scores fell, among those that the diagnosis of a decay looks
at (`decay.window`), and at least `retrain.min_labels` of the newest, are the *recent* ones; they
show the world as it is now. In training they are repeated a whole number of times, at most 10,
until they weigh about as much as reference and older production together. Those keep what the model
knew; the repetition lets some hundred fresh rows be heard beside thousands of old ones. Only
held-back rows among the recent ones judge. Nothing is drawn, so the same log gives the same data.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from coppice import errors, labels, onset, project, records, settings
from coppice.eventlog import base
from retrain import labelling

MOST_REPEATS = 10
"""Recent rows are repeated at most so often: more would teach the model those rows by heart."""
_NO_SLICE = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Production:
    """Labelled production rows, oldest first, in two parts that share no request.

    Attributes
    ----------
    older
        Rows to learn from, from before the recent ones; may be none.
    recent
        The newest rows to learn from; may be none.
    held_back
        Recent rows to judge on, which nothing learns from; may be none.
    skipped
        Labelled requests that could not be used, by reason.
    sources
        Rows by source of their labels.
    labellings
        The same rows, those that no part has any more included, by how they were labelled; empty
        where that is not known.
    span
        When the first and the last of them were asked, seconds since 1970 UTC.
    versions
        Rows by the version that answered them.
    """

    older: project.Split
    recent: project.Split
    held_back: project.Split
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, int] = dataclasses.field(default_factory=dict)
    labellings: tuple[labelling.Labelling, ...] = ()
    span: tuple[float, float] | None = None
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def independent_share(self) -> float | None:
        """Share of independent labels among what is learned from; `None` where not known."""
        return labelling.independent_share(self.labellings)

    @property
    def rows(self) -> int:
        """Number of rows in all parts."""
        return self.older.rows + self.recent.rows + self.held_back.rows


class LabelledRequests:
    """The most recent feedback, by request: the first label of a request stands.

    Parameters
    ----------
    limit
        Most rows kept; older requests are forgotten first.

    Attributes
    ----------
    rows
        Labelled rows kept.
    newest
        Request id of the newest feedback.

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
        self.newest: str | None = None

    def __iter__(self) -> Iterator[records.Feedback]:
        return iter(self._kept.values())

    def take(self, record: records.Record) -> None:
        """Remember a record if it is feedback."""
        if isinstance(record, records.Feedback):
            self.add(record)

    def add(self, feedback: records.Feedback) -> None:
        """Remember a request's labels unless it has some already."""
        if feedback.request_id in self._kept:
            return
        self._kept[feedback.request_id] = feedback
        self.newest = feedback.request_id
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
    version: str
    feedback: records.Feedback
    scores: labels.Floats | None
    """Of the answers that were given, where they were stored."""

    def labelled(self, part: labelling.Part) -> labelling.Sighting:
        """Return how this request was labelled."""
        given = self.feedback
        key = labelling.Key(part, given.source, given.saw_prediction, given.annotator_hash or "")
        return labelling.Sighting(key, len(self.targets), self.scores)


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
            examples.append(_join(log, found, reference, tree))
        except _Unusable as reason:
            skipped[str(reason)] += 1
    examples.sort(key=lambda example: (example.time, example.request_id))
    sources: collections.Counter[str] = collections.Counter()
    versions: collections.Counter[str] = collections.Counter()
    for example in examples:
        sources[example.feedback.source] += len(example.targets)
        versions[example.version] += len(example.targets)
    parts = _parts(examples, tree)
    return Production(
        older=_stack(parts["older"], reference.train),
        recent=_stack(parts["recent"], reference.train),
        held_back=_stack(parts["held back"], reference.train),
        skipped=dict(sorted(skipped.items())),
        sources=dict(sorted(sources.items())),
        labellings=_labellings(parts),
        span=(examples[0].time, examples[-1].time) if examples else None,
        versions=dict(sorted(versions.items())),
    )


def _labellings(parts: Mapping[str, list[_Example]]) -> tuple[labelling.Labelling, ...]:
    uses: dict[str, labelling.Part] = {
        "older": "learned from",
        "recent": "learned from",
        "held back": "held back",
        "unused": "unused",
    }
    return labelling.tally(
        example.labelled(uses[name]) for name, part in parts.items() for example in part
    )


def _parts(examples: Sequence[_Example], tree: settings.Settings) -> dict[str, list[_Example]]:
    """Sort examples, oldest first, into their parts."""
    key = tree.serve.routing_key_secret.get_secret_value()
    parts: dict[str, list[_Example]] = {"older": [], "recent": [], "held back": [], "unused": []}
    left = _recent_rows(examples, tree)
    for example in reversed(examples):
        fresh = left > 0
        left -= len(example.targets)
        if is_held_back(key, example.request_id, tree.retrain.holdback):
            parts["held back" if fresh else "unused"].append(example)
        else:
            parts["recent" if fresh else "older"].append(example)
    return {name: part[::-1] for name, part in parts.items()}


def _recent_rows(examples: Sequence[_Example], tree: settings.Settings) -> int:
    """Say how many of the newest rows show the world as it is now."""
    longest = max(tree.decay.window, tree.retrain.min_labels)
    scores = [example.scores for example in examples[-longest:]]
    known = [found for found in scores if found is not None]
    if len(known) < len(scores) or not known:
        return longest
    series = np.concatenate(known)[-longest:]
    return onset.rows_since(series, least=tree.retrain.min_labels)


def from_log(log: base.IndexedLog, reference: project.Data, tree: settings.Settings) -> Production:
    """Read all feedback in the log and collect what can be learned from it."""
    kept = LabelledRequests(limit=tree.retrain.max_production_rows)
    position = base.START
    while True:
        batch = log.read(position)
        for event in batch.events:
            if event.type == records.NAMES[records.Feedback] and event.model == tree.project.name:
                with contextlib.suppress(errors.UndecodableEvent):
                    kept.take(records.unseal(event))
        if not batch.events:
            return collect(log, kept, reference, tree)
        position = batch.position


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
    tree: settings.Settings,
) -> _Example:
    event, prediction = _prediction(log, feedback)
    if prediction.error is not None:
        raise _Unusable("the request failed")
    inputs = _inputs(prediction, reference.train)
    try:
        targets = labels.to_targets(feedback.labels, tree.project.task, reference.classes)
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
        version=prediction.version,
        feedback=feedback,
        scores=_scores(prediction, targets, tree),
    )


def _scores(
    prediction: records.Prediction, targets: labels.Floats, tree: settings.Settings
) -> labels.Floats | None:
    answer = prediction.outputs.get("scores")
    if answer is None or answer.shape[:1] != targets.shape:
        return None
    said = np.asarray(answer.array(), dtype=np.float64)
    return labels.scores(said, targets, task=tree.project.task, scale=tree.project.scale)


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


def combine(reference: project.Split, production: Production) -> project.Split:
    """Put production behind the reference; the module's docstring says how much it weighs."""
    once = [part for part in (reference, production.older) if part.rows]
    rows = sum(part.rows for part in once)
    times = 0
    if production.recent.rows:
        times = min(max(1, rows // production.recent.rows), MOST_REPEATS)
    return concatenate([*once, *[production.recent] * times])


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
