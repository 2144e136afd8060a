"""Rules for a rollout whose traffic another tool moves, such as Argo Rollouts or Flagger.

The tool widens the canary and promotes by its own steps, and asks for our verdict between them. So
these rules only follow: what it reports becomes the rollout's state. Safety stays ours as well:
a `rollback` verdict ends the trial at once (`deploy.plan`), whether or not the tool has asked.
"""

from __future__ import annotations

from coppice import records
from deploy import moves


def gave_up(moment: moves.Moment) -> records.Rollout | None:
    """Drop a candidate that the tool aborted for reasons of its own."""
    tool = moment.facts.tool
    if tool is None or tool.phase != "aborted" or not moment.under_trial:
        return None
    return moves.drop_candidate(moment, moves.Why(f"the rollout tool aborted: {tool.message}"))


def promoted(moment: moves.Moment) -> records.Rollout | None:
    """Note that the tool has moved all traffic to the candidate."""
    tool = moment.facts.tool
    if tool is None or tool.phase != "promoted" or not moment.under_trial:
        return None
    return moves.promote(moment, moves.Why("the rollout tool has moved all traffic to it"))


def widened(moment: moves.Moment) -> records.Rollout | None:
    """Note how much traffic the tool sends to the candidate."""
    tool = moment.facts.tool
    if tool is None or not moment.under_trial or tool.weight == moment.state.weight:
        return None
    why = moves.Why(f"the rollout tool sends {tool.weight:.0%} of the traffic to it")
    return moment.move(why, outcome="advanced", stage="canary", weight=tool.weight)
