"""Turns the events of some requests into facts: the dear part of the monitor, and the one to share.

All that is needed for it is keyed by request id (`monitoring.join`), so any split of the requests
gives the same facts. A single monitor has one shard of everything; a member of a group has one for
each of its partitions. Nothing here reads a clock, and nothing asks who plays which part.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from coppice import errors, labels, records, settings
from monitoring import facts, feed, join
from monitoring import state as states
from monitoring.knowledge import Scorings

_READ = frozenset(feed.KINDS)


class Shard:
    """Read, reduce and join the events of some requests.

    Parameters
    ----------
    requests
        What is known of them; is changed in place.
    counts
        Events taken in, by type; is changed in place.
    tree
        The project's settings.
    scorings
        How the answers of each version are read.
    """

    def __init__(
        self,
        requests: join.Join,
        counts: dict[str, int],
        tree: settings.Settings,
        scorings: Scorings,
    ) -> None:
        self.requests = requests
        self.counts = counts
        self._scorings = scorings
        self._model = tree.project.name
        self._key = tree.serve.routing_key_secret.get_secret_value()
        self._live_rate = min(1.0, tree.evidence.live_rate * states.EAGER)
        self._mirror = tree.rollout.mirror
        # Only natural labels put requests of two lanes side by side; see `split`.
        self._parts = tree.evidence.mode == "natural" and tree.rollout.mirror < 1.0

    def take(self, event: records.Event) -> facts.Fact | None:
        """Take in one event; say what it tells. What cannot be read is counted, and tells nothing.

        Returns
        -------
        Fact or None
            `None` for what is of another model, not read by the monitor, or repeated.
        """
        if event.model != self._model:
            return None
        fact = None
        try:
            if event.type in _READ or event.type not in records.TYPES:
                fact = self._fact(records.unseal(event), event)
        except (errors.UndecodableEvent, errors.ArtifactError):
            self._count("undecodable")
        except errors.UnknownVersion:
            self._count("unknown_version")
        else:
            self._count(event.type)
        return fact

    def _fact(self, record: records.Record, event: records.Event) -> facts.Fact | None:
        match record:
            case records.Prediction():
                return self._prediction(record, event.time)
            case records.Shadow():
                return self._shadow(record, event.time)
            case records.Feedback():
                return self._feedback(record, event.time)
            case records.Rollout() | records.Verdict():
                return facts.Fact(event.time, event.subject, facts.Told(event))
            case _:
                return None

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _prediction(self, record: records.Prediction, now: float) -> facts.Fact | None:
        if self.requests.repeats(record):
            return None
        found: Sequence[join.Fact] = ()
        failed = record.error is not None
        slices = tuple(sys.intern(f"{name}={value}") for name, value in record.slices.items())
        if failed:
            self.requests.failure(record, now)
        else:
            scoring = self._scorings.of(record.version)
            apart = record.lane if self._stands_apart(record) else None
            found = self.requests.prediction(record, slices, scoring, now, apart)
        request = self.requests.waiting[record.request_id]
        what = facts.Answered(
            record.version,
            record.lane,
            0 if failed else request.rows(),
            failed,
            slices,
            record.features,
            record.latency_seconds,
            record.fallback is not None,
            record.fallback_version,
            None if failed or request.labels is not None else self._draw(record.request_id),
        )
        return self._told(record.request_id, what, found, now)

    def _shadow(self, record: records.Shadow, now: float) -> facts.Fact | None:
        if self.requests.repeats(record):
            return None
        found: Sequence[join.Fact] = ()
        rows = 0
        if record.error is None:
            scoring = self._scorings.of(record.version)
            found = self.requests.shadow(record, scoring, now)
            rows = len(self.requests.waiting[record.request_id].answers[record.version])
        what = facts.Mirrored(
            record.version,
            record.against,
            record.role,
            rows,
            record.error is not None,
            record.agrees,
        )
        return self._told(record.request_id, what, found, now)

    def _feedback(self, record: records.Feedback, now: float) -> facts.Fact:
        request = self.requests.waiting.get(record.request_id)
        version = request.answered_by if request is not None else None
        scoring = self._scorings.of(version) if version is not None else None
        found = self.requests.feedback(record, scoring, now)
        what = facts.Labelled(version, record.labels if request is None else ())
        return self._told(record.request_id, what, found, now)

    def _told(
        self, request_id: str, what: facts.What, found: Sequence[join.Fact], now: float
    ) -> facts.Fact:
        request = self.requests.waiting.get(request_id)
        seen_at = request.seen_at if request is not None else now
        if not found:
            return facts.Fact(now, request_id, what, seen_at)
        scored = tuple([each for each in found if isinstance(each, join.Scored)])
        return facts.Fact(
            now,
            request_id,
            what,
            seen_at,
            tuple([each for each in found if isinstance(each, join.Paired)]),
            scored,
            self._compared(scored),
        )

    def _compared(self, scored: Sequence[join.Scored]) -> tuple[join.Compared, ...]:
        """Say how the versions compare on a request whose truth has just become known."""
        if not scored:
            return ()
        first = scored[0]
        return self.requests.compared(first.request_id, self._scorings.of(first.version))

    def _draw(self, request_id: str) -> float | None:
        draw = labels.unit_interval(self._key, "live", request_id)
        return draw if draw < self._live_rate else None

    def _stands_apart(self, record: records.Prediction) -> bool:
        """Say whether a request may stand beside one of the other lane.

        Only where labels are natural; where the lane was drawn rather than forced; where the
        candidate did not fail (that it did would choose among the requests); and where no copy of
        the request is sent to the other version.
        """
        drawn = 0.0 < record.propensity < 1.0 and record.fallback is None
        if not self._parts or not drawn:
            return False
        return labels.unit_interval(self._key, "mirror", record.request_id) >= self._mirror
