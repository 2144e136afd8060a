"""What the controller knows of the world: a fold over the event log, and nothing but a fold.

The same events give the same facts, whether they come one by one while the controller runs or all
at once after a restart. Nothing here decides; `deploy.plan` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from coppice import records, routing
from deploy.backends import base

R = TypeVar("R", bound=records.Record)

READ = frozenset(
    records.NAMES[kind]
    for kind in (
        records.Candidate,
        records.Command,
        records.Prediction,
        records.Rollout,
        records.Shadow,
        records.Verdict,
    )
)
"""Names of the event types that matter to a rollout; the rest is never decoded."""

TRAFFIC = frozenset(records.NAMES[kind] for kind in (records.Prediction, records.Shadow))


class Noted(NamedTuple, Generic[R]):
    """A record and the id of the event that brought it."""

    id: str
    record: R


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a plan rests on besides the state, the policy and the time.

    Attributes
    ----------
    table
        The routing table as the backend shows it; `None` where there is none.
    waiting
        The newest accepted or forced candidate that no rollout has taken up.
    passed_over
        Versions of older candidates that wait too, and never start because of the newest.
    verdict
        The newest verdict on the candidate being rolled out.
    health
        The newest verdict on the champion, since it became champion.
    command
        The oldest command of an operator that no rollout event answers.
    answered
        Requests that the candidate answered since the stage (or its step) began.
    failures
        The longest run of candidate failures since its rollout began.
    parents
        For each version that the registry holds its dense parent's tag, or `None` for a dense one.
    tool
        What a tool that moves the traffic reports; `None` where there is none.
    """

    table: routing.RoutingTable | None = None
    waiting: Noted[records.Candidate] | None = None
    passed_over: tuple[str, ...] = ()
    verdict: Noted[records.Verdict] | None = None
    health: Noted[records.Verdict] | None = None
    command: Noted[records.Command] | None = None
    answered: int = 0
    failures: int = 0
    parents: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    tool: base.Tool | None = None


@dataclasses.dataclass
class Trial:
    """What the log says of the candidate on trial, for whoever asks how it stands.

    Attributes
    ----------
    since
        When its rollout began, or the champion's watch; seconds since 1970 UTC.
    verdicts
        The newest verdict on it for each slice.
    promoted_by
        The operator who said that it shall be promoted, where a tool has yet to do it.
    """

    since: float = 0.0
    verdicts: dict[str, records.Verdict] = dataclasses.field(default_factory=dict)
    promoted_by: str | None = None


class History:
    """The events of one model so far, folded.

    Parameters
    ----------
    model
        Events of other models are passed over.
    since
        Predictions and shadows from before this time (seconds since 1970 UTC) are passed over
        without decoding. A restart gives the beginning of the running stage.
    """

    def __init__(self, model: str, *, since: float = 0.0) -> None:
        self.model = model
        self.state: records.Rollout | None = None
        """The latest rollout event, which is the whole state."""
        self.trial = Trial()
        self.dropped: dict[str, str] = {}
        """Why a version was rolled back, for each one that has not been tried again."""
        self.newest = 0.0
        """Time of the newest event that matters; seconds since 1970 UTC, by whoever wrote it."""
        self._since = since
        self._candidates: list[Noted[records.Candidate]] = []
        self._commands: list[Noted[records.Command]] = []
        self._verdict: Noted[records.Verdict] | None = None
        self._health: Noted[records.Verdict] | None = None
        self._answered = 0
        self._run = 0
        self._longest_run = 0

    @property
    def waiting(self) -> Noted[records.Candidate] | None:
        """The newest candidate that no rollout has taken up."""
        return self._candidates[-1] if self._candidates else None

    def facts(self, *, route: base.RouteState, parents: Mapping[str, str | None]) -> Facts:
        """Return what is known, with the world and the registry as they were just read."""
        return Facts(
            table=route.table,
            tool=route.tool,
            waiting=self.waiting,
            passed_over=tuple(noted.record.version for noted in self._candidates[:-1]),
            verdict=self._verdict,
            health=self._health,
            command=self._commands[0] if self._commands else None,
            answered=self._answered,
            failures=self._longest_run,
            parents=parents,
        )

    def add(self, event: records.Event) -> None:
        """Take in the next event of the log.

        Raises
        ------
        UndecodableEvent
            Its payload is not what its type promises. The event is then passed over.
        """
        if event.model != self.model or event.type not in READ:
            return
        self.newest = max(self.newest, event.time)
        if event.type in TRAFFIC and event.time < self._since:
            return
        match records.unseal(event):
            case records.Prediction() as prediction:
                self._predicted(prediction)
            case records.Shadow() as shadow:
                self._mirrored(shadow)
            case records.Verdict() as verdict:
                self._judged(Noted(event.id, verdict))
            case records.Candidate() as candidate:
                self._offered(Noted(event.id, candidate))
            case records.Command() as command:
                self._commands.append(Noted(event.id, command))
            case records.Rollout() as rollout:
                self._moved(rollout)

    def _predicted(self, prediction: records.Prediction) -> None:
        candidate = self.state.candidate if self.state else None
        if candidate is None:
            return
        if prediction.version == candidate:
            self._answered += prediction.error is None
            self._tried(failed=prediction.error is not None)
        elif prediction.fallback_version == candidate:
            self._tried(failed=True)

    def _mirrored(self, shadow: records.Shadow) -> None:
        if self.state and shadow.version == self.state.candidate:
            self._tried(failed=shadow.error is not None)

    def _tried(self, *, failed: bool) -> None:
        self._run = self._run + 1 if failed else 0
        # The longest run, because the guard must not forget what the next answer makes good.
        self._longest_run = max(self._longest_run, self._run)

    def _judged(self, verdict: Noted[records.Verdict]) -> None:
        state, record = self.state, verdict.record
        if state is None:
            return
        of_candidate = record.scope == "candidate" and record.version == state.candidate
        # Evidence against another champion says nothing about this pair.
        on_trial = of_candidate and record.against in {None, state.champion}
        if on_trial:
            self.trial.verdicts[record.slice] = record
        # One slice can condemn a version, but only all requests together can clear it.
        if record.slice != "all" and record.kind not in {"rollback", "decay"}:
            return
        if record.scope == "champion" and record.version == state.champion:
            self._health = verdict
        if on_trial:
            self._verdict = verdict

    def _offered(self, candidate: Noted[records.Candidate]) -> None:
        taken = {self.state.candidate, self.state.champion} if self.state else set()
        if candidate.record.status != "refused" and candidate.record.version not in taken:
            self._candidates.append(candidate)

    def _moved(self, state: records.Rollout) -> None:
        before, self.state = self.state, state
        self._answer_command(state, first=before is None)
        if state.outcome == "started" or before is None:
            self._take_up(state.candidate or state.champion)
        if before is None or before.candidate != state.candidate or state.outcome == "started":
            self._verdict = None
            self._run = self._longest_run = 0
            self.trial = Trial(state.since)
        if before is None or before.champion != state.champion:
            self._health = None
        if before is None or before.since != state.since:
            self._answered = 0
        self._remember(before, state)

    def _remember(self, before: records.Rollout | None, state: records.Rollout) -> None:
        if before is not None and state.outcome == "rolled-back":
            gone = {before.candidate, before.champion} - {state.champion, None}
            self.dropped |= {version: state.reason for version in gone if version}
        if state.outcome == "advanced" and state.actor != "coppice":
            self.trial.promoted_by = state.actor
        for version in (state.champion, state.candidate):
            self.dropped.pop(version or "", None)

    def _answer_command(self, state: records.Rollout, *, first: bool) -> None:
        # Nothing can be meant by a command from before the first champion.
        ids = [command.id for command in self._commands]
        if first:
            self._commands.clear()
        elif state.trigger in ids:
            del self._commands[: ids.index(state.trigger) + 1]

    def _take_up(self, version: str) -> None:
        # Newer candidates stay: they came between the controller's look and its decision.
        versions = [candidate.record.version for candidate in self._candidates]
        if version in versions:
            last = len(versions) - versions[::-1].index(version)
            del self._candidates[:last]
