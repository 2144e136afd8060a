"""The one of a group that judges: folds the facts of all members, and says what is news.

Facts come out of `monitoring.order` in an order that does not depend on who told them, so the
state is the same however many members there are. It is saved with the offset behind the last batch
that is in it; whoever judges next goes on from there, or begins at the oldest batch that is left.
It says nothing before everything that was told when it began is folded, or it would repeat what
its predecessor has said.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from coppice import clock as clocks
from coppice import errors, files
from coppice import settings as settings_tree
from coppice.eventlog import envelope
from monitoring import checkpoint, facts, order
from monitoring import state as states
from monitoring.conclude import Conclusions
from monitoring.fold import Fold
from monitoring.knowledge import Scorings
from monitoring.versions import Versions

SCHEMA = 1
"""Grows whenever `Saved` changes its shape or its meaning."""
BATCH = 5000
"""Facts folded at once, before it is asked whether to stop."""
JUDGE_SECONDS = 1.0
SAVE_SECONDS = 15.0

_log = structlog.get_logger(__name__)


class Saved(msgspec.Struct, frozen=True):
    """All that whoever judges next needs."""

    schema: int
    fingerprint: str
    offset: int
    ordering: order.Ordering
    state: states.State


class Aggregator:
    """Fold the facts of a group.

    Parameters
    ----------
    settings
        The project's settings.
    versions
        Models and manifests.
    scorings
        How the answers of each version are scored.
    conclusions
        Judges and says.
    clock
        Where the time comes from.
    partitions
        How many partitions facts are told of.
    """

    def __init__(
        self,
        settings: settings_tree.Settings,
        versions: Versions,
        scorings: Scorings,
        conclusions: Conclusions,
        clock: clocks.Clock,
        *,
        partitions: int,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._said = conclusions
        self._mark = checkpoint.group_fingerprint(settings, partitions)
        self._path = checkpoint.group_folder(settings) / "state.msgpack"
        self.began_at = clock.now()
        found = self._load()
        if found is None:
            patience = settings.monitor.group_patience_seconds
            ordering = order.Ordering(partitions, patience, self.began_at)
            found = Saved(SCHEMA, self._mark, 0, ordering, states.State.empty(settings))
        self.ordering = found.ordering
        self.ordering.since = self.began_at
        self.state = found.state
        self.offset = found.offset
        self.folded = 0
        """Facts folded since it began."""
        self._fold = Fold(self.state, settings, versions, scorings)

    def take(self, letter: envelope.Letter) -> None:
        """Take in a batch of facts; one that cannot be read is counted and passed over."""
        self.offset = letter.offset + 1
        try:
            batch = msgspec.msgpack.decode(letter.value or b"", type=order.Batch)
            if batch.model != self._settings.project.name:
                return
            late = self.ordering.add(batch, self._clock.now())
        except (msgspec.MsgspecError, errors.UndecodableEvent) as cause:
            self._count("undecodable")
            _log.warning("facts_unreadable", offset=letter.offset, reason=str(cause))
        else:
            self._take(late)

    def turn(self) -> int:
        """Fold what is complete, and judge; return how many facts were folded."""
        ready = self.ordering.ready(self._clock.now(), BATCH)
        self._take(ready)
        speaks = len(ready) < BATCH and self.is_caught_up()
        if speaks and self._said.is_due("judge", JUDGE_SECONDS):
            self._conclude(idle=not ready)
        if self._said.is_due("save", SAVE_SECONDS):
            self.save()
        return len(ready)

    def is_caught_up(self) -> bool:
        """Say whether everything is folded that had been told when it began."""
        return self.ordering.watermark(self._clock.now()) > self.began_at

    def lag(self) -> float:
        """Return how far what is folded is behind the clock, seconds."""
        now = self._clock.now()
        return max(0.0, now - max(self.ordering.watermark(now), 0.0))

    def save(self) -> None:
        """Save what is known.

        Raises
        ------
        EnvironmentProblem
            It cannot be written.
        """
        saved = Saved(SCHEMA, self._mark, self.offset, self.ordering, self.state)
        try:
            files.replace(self._path, msgspec.msgpack.encode(saved))
        except OSError as cause:
            message = f"the group's state {self._path} cannot be written: {cause}; make room"
            raise errors.EnvironmentProblem(message) from cause

    def _conclude(self, *, idle: bool) -> None:
        try:
            self._said.conclude(self.state, self._fold.assume, idle=idle)
        except Exception as cause:  # noqa: BLE001 - the outermost step; the next turn may do
            self._said.failed(cause)

    def _take(self, found: Sequence[facts.Fact]) -> None:
        for fact in found:
            try:
                self._fold.take(fact)
            except Exception as cause:  # noqa: BLE001 - the outermost step; the next fact may do
                self._said.failed(cause)
            self._count(fact.kind())
        self.folded += len(found)

    def _count(self, name: str) -> None:
        self.state.events[name] = self.state.events.get(name, 0) + 1

    def _load(self) -> Saved | None:
        try:
            found = msgspec.msgpack.decode(self._path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as cause:
            _log.warning("group_state_unreadable", path=str(self._path), reason=str(cause))
            return None
        if (found.schema, found.fingerprint) != (SCHEMA, self._mark):
            _log.info("group_state_not_used", path=str(self._path))
            return None
        return found
