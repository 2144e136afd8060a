"""What somebody who asks about the candidate is told: a pure rule over what the log and world say.

Argo Rollouts asks for a verdict and goes on at `promote`, gives up at `rollback`, and asks again
while it is `undecided`. Flagger asks at each of its hooks and looks at nothing but the status.
Nothing here moves anything: `deploy.plan` does, from the same facts.

The answer is `promote` also where nothing is on trial, because such a tool asks for every new
revision, also for the first one and for a champion that returns. It is that only where log and
routes agree on who serves; a replica of the log that lags behind its world decides nothing.

References
----------
Flagger, webhooks, https://docs.flagger.app/usage/webhooks: a hook succeeds with a status up to 202;
`rollback` is the other way round, a success rolls back.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from coppice import records, routing, verdicts
from deploy import facts, plan

Hook: TypeAlias = Literal[
    "confirm-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "rollback",
    "event",
]
Decision: TypeAlias = Literal["promote", "rollback", "undecided"]

STALE_SECONDS = 30.0
"""A view that was not renewed for so long decides nothing: what came since is not known."""
GO, WAIT = 200, 409


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What the controller knew after a turn; replaced as a whole.

    Attributes
    ----------
    model
        The one model of this controller.
    state
        The latest rollout event; `None` before the first champion.
    routed
        The routing table as the backend shows it.
    judged
        What `coppice.verdicts.conclude` makes of the verdicts on the candidate.
    promoted_by
        The operator who said that the candidate shall be promoted.
    dropped
        Why a version was rolled back, by tag.
    began
        When the trial began, or the champion's watch; seconds since 1970 UTC.
    newest
        Time of the newest event that the log holds; seconds since 1970 UTC.
    auto
        Whether verdicts move a rollout by themselves.
    """

    model: str
    state: records.Rollout | None
    routed: routing.RoutingTable | None
    judged: Mapping[str, Any]
    promoted_by: str | None = None
    dropped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    began: float = 0.0
    newest: float = 0.0
    auto: bool = True

    @classmethod
    def of(cls, history: facts.History, routed: routing.RoutingTable | None, *, auto: bool) -> View:
        """Take a view of the events so far and of the world as it was just read."""
        state, trial = history.state, history.trial
        candidate = None if state is None else state.candidate
        found = list(trial.verdicts.values())
        return cls(
            model=history.model,
            state=state,
            routed=routed,
            judged=verdicts.conclude(found, candidate) if candidate else NOBODY,
            promoted_by=trial.promoted_by,
            dropped=dict(history.dropped),
            began=trial.since,
            newest=history.newest,
            auto=auto,
        )

    @property
    def candidate(self) -> str | None:
        """The version on trial."""
        return None if self.state is None else self.state.candidate

    def routes(self, version: str | None) -> bool:
        """Say whether the world routes to a version, or shows no routes at all."""
        table = self.routed
        return table is None or version in {table.champion, table.candidate}


NOBODY = verdicts.undecided("there is no candidate")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `/v1/verdict`; the first six fields are those of the server's own."""

    verdict: Decision
    reason: str
    evidence: Mapping[str, float] = {}
    counts: Mapping[str, int] = {}
    label_coverage: float = 0.0
    version: str | None = None
    """The version that is spoken of."""
    model: str
    generation: int = 0
    """Generation of the routing table at the latest rollout event in this replica of the log."""
    routed_generation: int = 0
    """Generation of the routing table that is in force; a greater one shows that the log lags."""
    newest_event: float = 0.0
    """Time of the newest event in this replica of the log, seconds since 1970 UTC."""


class _Told(NamedTuple):
    decision: Decision
    reason: str


def unknown(model: str, reason: str) -> Answer:
    """Return the answer where nothing is known.

    >>> unknown("digits", "still reading").verdict
    'undecided'
    """
    return Answer(verdict="undecided", reason=reason, model=model)


def answer(view: View, version: str | None = None) -> Answer:
    """Say how the version that is asked about stands.

    Parameters
    ----------
    view
        What is known.
    version
        A tag `name:id`, or its id; by default the newest version that the routes name.
    """
    asked = _asked(view, version)
    told = _decide(view, asked)
    judged = view.judged if asked is not None and asked == view.candidate else NOBODY
    return Answer(
        verdict=told.decision,
        reason=told.reason,
        evidence=judged["evidence"],
        counts=judged["counts"],
        label_coverage=judged["label_coverage"],
        version=asked,
        model=view.model,
        generation=0 if view.state is None else view.state.generation,
        routed_generation=0 if view.routed is None else view.routed.generation,
        newest_event=view.newest,
    )


def _asked(view: View, version: str | None) -> str | None:
    if version:
        return version if ":" in version else f"{view.model}:{version}"
    if view.routed is not None:
        return view.routed.candidate or view.routed.champion
    return None if view.state is None else view.state.candidate or view.state.champion


def _decide(view: View, asked: str | None) -> _Told:
    state = view.state
    if asked is not None and asked in view.dropped:
        return _Told("rollback", f"{asked} was rolled back: {view.dropped[asked]}")
    if state is None and (asked is None or view.routed is None):
        return _Told("promote", "nothing is on trial: there is no champion yet")
    if state is not None and view.routes(asked):
        if asked == state.champion:
            return _Told("promote", f"nothing is on trial: {asked} is the champion")
        if asked == state.candidate:
            return _of_candidate(view, state)
    reason = f"log and routes do not agree (yet) that {asked} is on trial or serves"
    return _Told("undecided", reason)


def _of_candidate(view: View, state: records.Rollout) -> _Told:
    judged = view.judged
    if judged["verdict"] == "rollback":
        return _Told("rollback", judged["reason"])
    if state.paused:
        return _Told("undecided", "an operator holds the rollout")
    if view.promoted_by is not None:
        return _Told("promote", f"{view.promoted_by} promoted it")
    if not view.auto:
        return _Told("undecided", "rollout.auto is off, so an operator decides")
    return _Told(judged["verdict"], judged["reason"])


def status(hook: Hook, view: View | None, told: Answer) -> int:
    """Return the HTTP status that answers a hook of Flagger.

    Parameters
    ----------
    hook
        Which one asks.
    view
        What is known; `None` where that is nothing, or too old.
    told
        What `answer` says about the version in question.
    """
    match hook:
        case "event":
            return GO
        case "rollback":
            return GO if told.verdict == "rollback" else WAIT
        case "rollout":
            return WAIT if told.verdict == "rollback" else GO
        case "confirm-rollout":
            return WAIT if told.verdict == "rollback" or _held(view) else GO
        case "confirm-promotion":
            return GO if told.verdict == "promote" else WAIT
        case "confirm-traffic-increase":
            # Without any traffic there never would be evidence: the first step needs no verdict.
            return GO if told.verdict == "promote" or _first_step(view, told) else WAIT


def _held(view: View | None) -> bool:
    return view is not None and view.state is not None and view.state.paused


def _first_step(view: View | None, told: Answer) -> bool:
    if view is None or view.state is None or _held(view) or told.verdict == "rollback":
        return False
    on_trial = told.version is not None and told.version == view.candidate
    return on_trial and view.routes(told.version) and view.state.weight == 0.0


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert as Alertmanager's webhook, version 4, tells it."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: dt.datetime | None = None

    @property
    def sentence(self) -> str:
        """Its name, and its summary where it has one."""
        name = self.labels.get("alertname", "unnamed")
        summary = self.annotations.get("summary", "")
        return f"alert {name}: {summary}" if summary else f"alert {name}"


def alarm(view: View, alerts: Sequence[Alert]) -> Alert | None:
    """Return the first alert that speaks of the version on trial or just promoted.

    It must fire, name the model in the label `model`, name no other version in `version` where it
    has that, and have begun after the rollout: what was wrong before is not this version's doing.
    """
    return next((alert for alert in alerts if _speaks_of(view, alert)), None)


def _speaks_of(view: View, alert: Alert) -> bool:
    state = view.state
    if state is None or state.stage == "idle" or alert.status != "firing":
        return False
    tried = state.champion if state.stage == "watch" else state.candidate
    known = {None, tried, str(tried).partition(":")[2]}
    if alert.labels.get("model") != view.model or alert.labels.get("version") not in known:
        return False
    return alert.starts_at is None or alert.starts_at.timestamp() >= view.began


def command(view: View, alert: Alert, action: Literal["pause", "abort"]) -> records.Command | None:
    """Return what an alert asks for; `None` where the state does not allow it (any more)."""
    if plan.refusal(view.state, action) is not None:
        return None
    return records.Command(
        model=view.model, action=action, actor="alertmanager", reason=alert.sentence
    )
