"""Rules for a rollout that Git writes and another tool moves: record and judge, and write nothing.

Which version the pod template names, and what the tool reports, becomes the rollout's state, so
that the monitor compares the right pair and the hooks answer for it. A candidate goes because the
tool asked for its verdict and aborted; it is not started again while the tool says so.
"""

from __future__ import annotations

from coppice import records
from deploy import facts as observed
from deploy import moves


def first(facts: observed.Facts, now: float) -> records.Rollout | None:
    """Record the version that Git names while nothing is recorded yet."""
    version = _named(facts)
    if version is None or facts.table is None:
        return None
    return records.Rollout(
        model=facts.table.model,
        stage="idle",
        champion=version,
        outcome="promoted",
        reason="the first version that Git names",
        since=now,
    )


def taken_back(moment: moves.Moment) -> records.Rollout | None:
    """Drop a candidate that Git names no longer."""
    version = _named(moment.facts)
    if not moment.under_trial or version in {None, moment.state.candidate}:
        return None
    return moves.drop_candidate(moment, moves.Why(f"Git names {version} instead of the candidate"))


def returned(moment: moves.Moment) -> records.Rollout | None:
    """Record that Git brought the previous champion back."""
    version = _named(moment.facts)
    if moment.under_trial or version is None or version != moment.state.previous:
        return None
    return moves.back_to_previous(moment, moves.Why(f"Git names {version} again"))


def started(moment: moves.Moment) -> records.Rollout | None:
    """Record a new version that Git names, unless the tool gave it up."""
    version, tool = _named(moment.facts), moment.facts.tool
    if moment.under_trial or version in {None, moment.state.champion}:
        return None
    if tool is None or tool.phase == "aborted":
        return None
    why = moves.Why(f"Git names {version}")
    return moment.move(
        why, outcome="started", stage="shadow", candidate=version, weight=0.0, step=0
    )


def refused(moment: moves.Moment) -> records.Rollout | None:
    """Answer an operator's command: Git is where it is to be carried out."""
    if moment.facts.command is None:
        return None
    identity, command = moment.facts.command
    reason = (
        f"{command.action} refused: cluster.write_back is none, so nothing is written from here; "
        "change the version in Git, or tell the rollout tool"
    )
    return moves.change(moment.state, moves.Why(reason, identity, command.actor), outcome="refused")


def _named(facts: observed.Facts) -> str | None:
    """Return the version that the pods of the template answer with, if the registry has it."""
    table = facts.table
    if table is None:
        return None
    version = table.candidate if table.candidate and table.weight > 0.0 else table.champion
    return version if version in facts.parents else None
