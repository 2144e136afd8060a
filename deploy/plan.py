"""The rollout's state machine: what to do next, as a pure function of state, facts and time.

Called by `deploy.loop`; takes the latest rollout event, what the log and the world say, the policy
and the time; gives the next step or `None`. Nothing is remembered between two calls, so a restart
plans as if nothing had happened.

::

    idle --candidate--> shadow --promote--> canary 1 .. n --promote--> watch --time--> idle
                           |                   |                         |
                           +----- rollback ----+----- swap back ---------+  (also from idle)

What moves a rollout, in order of precedence; the first rule that applies makes the step:

1. *Safety*, always, also while paused or with `rollout.auto` off: the champion decays and the
   previous one is shown to do better, so it returns; the candidate's verdict is `rollback`; the
   candidate failed so often in a row that the crash guard trips, or left the registry.
2. An operator's *command*, where the state allows it; else it is refused, and the log says why.
3. *Evidence*, unless paused or `rollout.auto` is off: a `promote` verdict opens the canary lane,
   widens it step by step and promotes; without one for `shadow_seconds` the candidate goes.
4. *Time*, unless paused: a new champion has been watched long enough; a waiting candidate enters
   shadow, where no client gets its answers.
5. *Repair*: the routing table is missing, or is not what the state asks for.

Where another tool moves the traffic, evidence and time widen nothing: `deploy.outside` follows it.
Where Git names the versions as well, the rollout only records and judges: `deploy.judging`.

A version that was rolled back after its promotion is not kept as previous: a later alarm must not
bring back what an earlier one removed. A candidate that waits while another is rolled out starts
when that one is decided; of several that wait only the newest does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from coppice import errors, records, routing
from coppice.registry import base
from deploy import facts as observed
from deploy import judging, moves, outside, tables
from deploy import policy as policies
from deploy.backends import base as backends


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One move, to be carried out in this order: routing table, tool, aliases, rollout event."""

    table: routing.RoutingTable
    aliases: Mapping[base.Alias, str | None]
    rollout: records.Rollout
    steer: backends.Steering | None = None
    """What a tool that moves the traffic is told to do."""


def plan(
    state: records.Rollout | None, facts: observed.Facts, policy: policies.Policy, now: float
) -> Step | None:
    """Say what to do next.

    Parameters
    ----------
    state
        The latest rollout event; `None` before the first champion.
    facts
        What the log, the backend and the registry say.
    policy
        How a candidate becomes champion.
    now
        Seconds since 1970 UTC.

    Returns
    -------
    Step or None
        `None` where there is nothing to do.
    """
    if state is None:
        first = (judging.first if policy.judges else _first_champion)(facts, now)
        return None if first is None else _step(first, facts, policy)
    moment = moves.Moment(state, facts, policy, now)
    for rule in WATCHED if policy.judges else RULES:
        after = rule(moment)
        if after is not None:
            return _step(after, facts, policy)
    return None


def refusal(state: records.Rollout | None, action: records.Action) -> str | None:
    """Say why a command does not fit the state, or `None` where it does.

    >>> refusal(None, "promote")
    'there is no champion yet, so there is nothing to promote'
    """
    if state is None:
        return f"there is no champion yet, so there is nothing to {action}"
    if state.stage == "idle":
        return f"no rollout is running ({state.champion} serves), so there is nothing to {action}"
    match action:
        case "promote" if state.stage == "watch":
            return f"{state.champion} is promoted already and being watched"
        case "pause" if state.paused:
            return "the rollout is paused already"
        case "resume" if not state.paused:
            return "the rollout is not paused"
        case _:
            return None


def check(state: records.Rollout | None, action: records.Action) -> None:
    """Refuse a command that does not fit the state.

    Raises
    ------
    RolloutError
        It does not fit; the message says why.
    """
    reason = refusal(state, action)
    if reason is not None:
        message = f"{action}: {reason}; `coppice rollout status` shows the state"
        raise errors.RolloutError(message)


def edited(
    state: records.Rollout | None, facts: observed.Facts, policy: policies.Policy, step: Step | None
) -> bool:
    """Say whether somebody else wrote the routing table since the state was recorded.

    A table that the next step asks for is our own: the controller stopped before the step's end.
    """
    table = facts.table
    if policy.judges or state is None or table is None or table.generation <= state.generation:
        return False
    ours = [tables.table_of(state, facts.parents, policy)] + ([step.table] if step else [])
    return not any(tables.same(table, own) for own in ours)


def _first_champion(facts: observed.Facts, now: float) -> records.Rollout | None:
    waiting = facts.waiting
    if waiting is None or waiting.record.version not in facts.parents:
        return None
    return records.Rollout(
        model=waiting.record.model,
        stage="idle",
        champion=waiting.record.version,
        outcome="promoted",
        reason="the first version: there is no champion to compare it with" + _passed_over(facts),
        since=now,
        trigger=waiting.id,
    )


def _swap_back(moment: moves.Moment) -> records.Rollout | None:
    state, health = moment.state, moment.facts.health
    if health is None or health.record.kind != "decay":
        return None
    if health.record.cause != "release" and health.record.against != state.previous:
        return None
    if state.previous is None or state.previous not in moment.facts.parents:
        return None
    return moves.back_to_previous(moment, moves.Why(health.record.reason, health.id))


def _candidate_fails(moment: moves.Moment) -> records.Rollout | None:
    if not moment.under_trial:
        return None
    verdict, failures = moment.facts.verdict, moment.facts.failures
    if verdict is not None and verdict.record.kind == "rollback":
        return moves.drop_candidate(moment, moves.Why(verdict.record.reason, verdict.id))
    if failures >= moment.policy.crash_guard:
        why = moves.Why(f"crash guard: the candidate failed {failures} times in a row")
        return moves.drop_candidate(moment, why)
    if moment.state.candidate not in moment.facts.parents:
        return moves.drop_candidate(
            moment, moves.Why("the candidate cannot be found in the registry")
        )
    return None


def _obey(moment: moves.Moment) -> records.Rollout | None:
    if moment.facts.command is None:
        return None
    identity, command = moment.facts.command
    reason = command.reason or f"{command.actor} asked to {command.action}"
    why = moves.Why(reason, identity, command.actor)
    problem = refusal(moment.state, command.action)
    if problem is not None:
        why = why._replace(reason=f"{command.action} refused: {problem}")
        return moves.change(moment.state, why, outcome="refused")
    match command.action:
        case "promote" if moment.policy.outside:
            return moves.change(moment.state, why, outcome="advanced")
        case "promote":
            return moves.promote(moment, why)
        case "abort":
            return _abort(moment, why)
        case "pause":
            return moves.change(moment.state, why, outcome="paused", paused=True)
        case "resume":
            # The stage begins anew: time that passed while paused proves nothing.
            return moment.move(why, outcome="resumed", paused=False)


def _abort(moment: moves.Moment, why: moves.Why) -> records.Rollout:
    if moment.state.stage == "watch" and moment.state.previous is not None:
        return moves.back_to_previous(moment, why)
    return moves.drop_candidate(moment, why)


def _follow_evidence(moment: moves.Moment) -> records.Rollout | None:
    if moment.state.paused or not moment.policy.auto or not moment.under_trial:
        return None
    verdict = moment.facts.verdict
    if verdict is not None and verdict.record.kind == "promote":
        if moment.policy.outside:
            # The tool asks for the verdict when it is ready for the next step.
            return None
        return _advance(moment, moves.Why(verdict.record.reason, verdict.id))
    if moment.age >= moment.policy.shadow_seconds:
        limit = f"{moment.policy.shadow_seconds:g} s"
        return moves.drop_candidate(
            moment, moves.Why(f"want of evidence: still undecided after {limit}")
        )
    return None


def _advance(moment: moves.Moment, why: moves.Why) -> records.Rollout | None:
    state, policy = moment.state, moment.policy
    in_canary = state.stage == "canary"
    ripe = moment.age >= policy.step_seconds and moment.facts.answered >= policy.step_requests
    if in_canary and not ripe:
        return None
    # The steps may have changed since the last one: go by the weight reached, not by a count.
    wider = [weight for weight in policy.steps if weight > state.weight]
    if not wider:
        return moves.promote(moment, why)
    step = policy.steps.index(wider[0])
    return moment.move(why, outcome="advanced", stage="canary", weight=wider[0], step=step)


def _settle(moment: moves.Moment) -> records.Rollout | None:
    state, policy = moment.state, moment.policy
    if state.stage != "watch" or state.paused or moment.age < policy.watch_seconds:
        return None
    why = moves.Why(f"{state.champion} was watched for {policy.watch_seconds:g} s")
    return moment.move(why, outcome="settled", stage="idle")


def _begin(moment: moves.Moment) -> records.Rollout | None:
    waiting = moment.facts.waiting
    if moment.state.stage != "idle" or waiting is None:
        return None
    if waiting.record.version not in moment.facts.parents:
        return None
    forced = ", forced past its gates" if waiting.record.status == "forced" else ""
    reason = f"candidate made because of: {waiting.record.reason}{forced}"
    why = moves.Why(reason + _passed_over(moment.facts), waiting.id)
    return moment.move(why, outcome="started", stage="shadow", candidate=waiting.record.version)


def _repair(moment: moves.Moment) -> records.Rollout | None:
    state, table = moment.state, moment.facts.table
    if tables.same(table, tables.table_of(state, moment.facts.parents, moment.policy)):
        return None
    if table is not None and table.generation > state.generation:
        # Somebody's own edit: it is reported, and stands until the next step.
        return None
    state_of_it = "was missing" if table is None else "was not what the rollout asks for"
    return moves.change(state, moves.Why(f"the routing table {state_of_it}"), outcome="repaired")


RULES: tuple[moves.Rule, ...] = (
    _swap_back,
    _candidate_fails,
    outside.gave_up,
    _obey,
    _follow_evidence,
    outside.promoted,
    outside.widened,
    _settle,
    _begin,
    _repair,
)
"""Every rule, by precedence."""


WATCHED: tuple[moves.Rule, ...] = (
    judging.taken_back,
    judging.returned,
    judging.refused,
    outside.gave_up,
    outside.promoted,
    outside.widened,
    judging.started,
    _settle,
)
"""Every rule where somebody else names the versions and we only record, by precedence."""


def _passed_over(facts: observed.Facts) -> str:
    return f"; passed over for it: {', '.join(facts.passed_over)}" if facts.passed_over else ""


def _known(version: str | None, facts: observed.Facts) -> str | None:
    return version if version in facts.parents else None


def _step(after: records.Rollout, facts: observed.Facts, policy: policies.Policy) -> Step:
    table = facts.table
    if table is not None and (after.outcome == "refused" or policy.judges):
        wanted = table
        generation = table.generation if policy.judges else after.generation
    else:
        wanted = tables.table_of(after, facts.parents, policy)
        seen = 0 if table is None else table.generation
        done = table is not None and tables.same(table, wanted)
        generation = seen if done else max(seen, after.generation) + 1
        wanted = msgspec.structs.replace(wanted, generation=generation)
    return Step(
        table=wanted,
        aliases={
            "champion": _known(after.champion, facts),
            "previous": _known(after.previous, facts),
            "candidate": _known(after.candidate, facts),
        },
        rollout=msgspec.structs.replace(after, generation=generation),
        steer=_steering(after, facts) if policy.outside and not policy.judges else None,
    )


def _steering(after: records.Rollout, facts: observed.Facts) -> backends.Steering | None:
    """Pass on an operator's command that was not refused; an abort goes by the routing table."""
    if facts.command is None or facts.command.id != after.trigger or after.outcome == "refused":
        return None
    action = facts.command.record.action
    return None if action == "abort" else action
