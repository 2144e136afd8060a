"""The delayed join: predictions, shadows and labels of one request find each other in any order.

Everything here is about one request at a time, so that requests can be shared out among members;
whatever needs to know of others (roles, slices, trials) is left to `monitoring.fold`.

A request waits here from the first that is heard of it until `limit` younger requests have come.
What becomes known is handed back as facts: `Scored` once a version's answer and the truth are both
there, `Paired` once the stable version and the candidate have both answered, and again when the
truth comes. The first prediction and the first label of a request stand; repeats are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from coppice import errors, records
from monitoring import answers

Oddity: TypeAlias = Literal[
    "repeated_prediction",
    "repeated_shadow",
    "repeated_label",
    "invalid_label",
    "unknown_request",
    "unlabelled",
]
"""What can go otherwise than one prediction, then one label; each is counted."""


_Answers: TypeAlias = answers.Answers


class Pair(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which of two versions that answered a request is on trial."""

    stable: str
    candidate: str


class Waiting(msgspec.Struct):
    """All that is known of one request."""

    seen_at: float
    """Time of the first event about it, seconds since 1970 UTC."""
    answered_by: str | None = None
    """Version whose answer the client got; `None` before the prediction, or where it failed."""
    failed: bool = False
    slices: tuple[str, ...] = ()
    """All that it belongs to, watched or not."""
    answers: dict[str, tuple[float, ...]] = {}
    """By version, in the form of `answers.Answers`."""
    scores: dict[str, bytes] = {}
    """By version, from `answers.Scoring.kept_scores`."""
    trials: list[Pair] = []
    """Pairs announced by shadows, in the order of their coming."""
    apart: records.Lane | None = None
    """Its lane, where it may stand beside a request of the other lane; see `split`."""
    labels: tuple[records.Label, ...] | None = None
    targets: tuple[float, ...] | None = None

    def rows(self) -> int:
        """Return the number of rows of the request, 0 where no answer is known."""
        return len(next(iter(self.answers.values()), ()))


class Scored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A version's answer meets the truth."""

    request_id: str
    version: str
    answers: _Answers
    targets: _Answers
    slices: tuple[str, ...]
    scores: bytes = b""
    """Of the version's answer, where they are kept."""
    delay: float = 0.0
    """Seconds from the request to its label; 0 where the label came first, or clocks differ."""
    apart: records.Lane | None = None
    """The lane that answered, where no other version saw the request, so that it counts alone."""


class Paired(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Both versions of a trial have answered; `targets` where the truth is known.

    The fact is stated when the pair forms (`fresh`) and, where the truth came later, once more.
    """

    request_id: str
    pair: Pair
    stable: _Answers
    candidate: _Answers
    targets: _Answers | None
    slices: tuple[str, ...]
    fresh: bool
    seen_at: float


class Compared(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Two versions that answered one request."""

    pair: Pair
    agrees: bool
    """Whether their answers to every row agree; see `labels.differ`."""


Fact: TypeAlias = Scored | Paired


class Join(msgspec.Struct):
    """Hold what is known of the most recent requests.

    Parameters
    ----------
    limit
        Most requests held; the oldest is forgotten first.
    """

    limit: int
    waiting: dict[str, Waiting] = {}
    oddities: dict[str, int] = {}

    def repeats(self, record: records.Prediction | records.Shadow) -> bool:
        """Say whether that answer is known already, and count it if so."""
        request = self.waiting.get(record.request_id)
        if request is None:
            return False
        if isinstance(record, records.Shadow):
            if repeated := record.version in request.answers:
                self._count("repeated_shadow")
            return repeated
        if repeated := request.answered_by is not None or request.failed:
            self._count("repeated_prediction")
        return repeated

    def failure(self, record: records.Prediction, now: float) -> None:
        """Take in a request that got no answer; a label for it will have nothing to join."""
        self._open(record.request_id, now).failed = True

    def prediction(
        self,
        record: records.Prediction,
        slices: tuple[str, ...],
        scoring: answers.Scoring,
        now: float,
        apart: records.Lane | None = None,
    ) -> list[Fact]:
        """Take in an answered request.

        Parameters
        ----------
        slices
            What it belongs to.
        apart
            Its lane, where it may be paired with a request of the other lane.
        """
        request = self._open(record.request_id, now)
        # A copy that another version answered makes the better pair.
        request.apart = None if request.trials else apart
        request.answered_by = record.version
        request.slices = slices
        return self._answer(record.request_id, record.version, record.outputs, scoring)

    def shadow(self, record: records.Shadow, scoring: answers.Scoring, now: float) -> list[Fact]:
        """Take in what another version would have answered."""
        request = self._open(record.request_id, now)
        if request.apart is not None and request.targets is not None:
            # It stands in a pair with another request already, and must not count twice.
            pass
        elif record.role == "candidate":
            request.trials.append(Pair(record.against, record.version))
        elif record.role == "champion":
            request.trials.append(Pair(record.version, record.against))
        return self._answer(record.request_id, record.version, record.outputs, scoring)

    def feedback(
        self, record: records.Feedback, scoring: answers.Scoring | None, now: float
    ) -> list[Fact]:
        """Take in the truth about a request; it waits where the prediction is not there yet."""
        request = self._open(record.request_id, now)
        if request.labels is not None:
            self._count("repeated_label")
            return []
        request.labels = record.labels
        if request.answered_by is None or scoring is None:
            return []
        self._read_labels(request, scoring)
        if request.targets is None:
            return []
        scored = self._scored(record.request_id, request, request.answers, now)
        paired = [
            self._paired(record.request_id, request, pair, fresh=False)
            for pair in request.trials
            if pair.stable in request.answers and pair.candidate in request.answers
        ]
        # Pairs first: whether a row represents the traffic is judged by how its stratum is
        # labelled, and that count includes the row itself.
        return [*paired, *scored]

    def compared(self, request_id: str, scoring: answers.Scoring) -> tuple[Compared, ...]:
        """Return the pairs of a request whose versions have both answered."""
        request = self.waiting[request_id]
        given = request.answers
        return tuple(
            Compared(pair, not any(map(scoring.differ, given[pair.stable], given[pair.candidate])))
            for pair in request.trials
            if pair.stable in given and pair.candidate in given
        )

    def _answer(
        self,
        request_id: str,
        version: str,
        outputs: dict[str, records.Tensor],
        scoring: answers.Scoring,
    ) -> list[Fact]:
        """Note a version's answer and say what it completes."""
        request = self.waiting[request_id]
        given = scoring.answers(outputs)
        if request.rows() not in {0, len(given)}:
            message = f"{version} answered {len(given)} rows of {request_id}, not {request.rows()}"
            raise errors.UndecodableEvent(message)
        request.answers[version] = given
        if kept := scoring.kept_scores(outputs):
            request.scores[version] = kept
        if request.answered_by is None:
            return []
        if request.labels and request.targets is None:
            self._read_labels(request, scoring)
        arrived = request.answers if request.answered_by == version else {version: given}
        facts: list[Fact] = [
            self._paired(request_id, request, pair, fresh=True)
            for pair in request.trials
            if version in {pair.stable, pair.candidate}
            and pair.stable in request.answers
            and pair.candidate in request.answers
        ]
        if request.targets is not None:
            facts += self._scored(request_id, request, arrived, request.seen_at)
        return facts

    def _scored(
        self, request_id: str, request: Waiting, given: Mapping[str, answers.Answers], now: float
    ) -> list[Scored]:
        """State each answer beside the truth; a version's answers wait under its name."""
        late = max(now - request.seen_at, 0.0)
        return [
            Scored(
                request_id,
                version,
                each,
                request.targets or (),
                request.slices,
                request.scores.get(version, b""),
                late,
                request.apart if version == request.answered_by and not request.trials else None,
            )
            for version, each in given.items()
        ]

    def _paired(self, request_id: str, request: Waiting, pair: Pair, *, fresh: bool) -> Paired:
        return Paired(
            request_id,
            pair,
            request.answers[pair.stable],
            request.answers[pair.candidate],
            request.targets,
            request.slices,
            fresh,
            request.seen_at,
        )

    def _read_labels(self, request: Waiting, scoring: answers.Scoring) -> None:
        """Turn the labels into targets; labels that do not fit the request are counted."""
        try:
            targets = scoring.targets(request.labels or ())
        except errors.RequestError:
            targets = ()
        if targets and len(targets) == request.rows():
            request.targets = targets
        else:
            self._count("invalid_label")
            # Still not None: the first label stands, though it says nothing.
            request.labels = ()

    def _open(self, request_id: str, now: float) -> Waiting:
        request = self.waiting.get(request_id)
        if request is None:
            request = self.waiting[request_id] = Waiting(seen_at=now)
            if len(self.waiting) > self.limit:
                self._forget(next(iter(self.waiting)))
        return request

    def _forget(self, request_id: str) -> None:
        request = self.waiting.pop(request_id)
        if request.answered_by is None and request.labels is not None and not request.failed:
            self._count("unknown_request")
        elif request.labels is None and not request.failed:
            self._count("unlabelled")

    def _count(self, oddity: Oddity) -> None:
        self.oddities[oddity] = self.oddities.get(oddity, 0) + 1
