"""How a rollout looks: a sentence, a table, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import rich.console

from coppice import clock, records
from coppice_cli import console

Steps = Sequence[tuple[float, records.Rollout]]
"""Rollout events with their times, oldest first."""


def sentence(state: records.Rollout) -> str:
    """Say in one sentence where a rollout stands.

    >>> sentence(records.Rollout(model="m", stage="canary", champion="m:a", candidate="m:b",
    ...     weight=0.1, outcome="advanced", reason=""))
    'm:b answers 10% of the keys beside m:a'
    """
    paused = ", paused" if state.paused else ""
    match state.stage:
        case "shadow":
            return f"{state.candidate} is compared in shadow with {state.champion}{paused}"
        case "canary":
            share = console.percent(state.weight, 0)
            return f"{state.candidate} answers {share} of the keys beside {state.champion}{paused}"
        case "watch":
            return f"{state.champion} is champion, watched; {state.previous} is kept ready"
        case "idle":
            return f"{state.champion} is champion; no rollout is running"


def show(screen: rich.console.Console, steps: Steps, *, limit: int, now: float) -> None:
    """Print the state and the latest steps."""
    if not steps:
        screen.print("No rollout yet: `coppice prune` makes a candidate.")
        return
    since = steps[-1][1].since
    screen.print(sentence(steps[-1][1]), markup=False, soft_wrap=True)
    if since:
        screen.print(f"since {clock.rfc3339(since)[:19]}Z, {console.duration(now - since)}")
    if not limit:
        return
    table = console.table("time", "step", "by", "why")
    for time, state in steps[-limit:]:
        what = state.outcome if not state.weight else f"{state.outcome} {state.weight:.0%}"
        moment = clock.rfc3339(time)[5:19].replace("T", " ")
        table.add_row(moment, what, console.plain(state.actor), console.plain(state.reason))
    screen.print(table)


def as_json(steps: Steps, limit: int) -> dict[str, Any]:
    """Return the state and the latest steps as JSON values."""
    plain = [{"time": clock.rfc3339(time), **msgspec.to_builtins(state)} for time, state in steps]
    return {"state": plain[-1] if plain else None, "steps": plain[-limit:] if limit else []}
