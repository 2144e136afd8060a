"""From a rollout's state to the routing table that it asks for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from coppice import records, routing
from deploy import policy as policies


def table_of(
    state: records.Rollout, parents: Mapping[str, str | None], policy: policies.Policy
) -> routing.RoutingTable:
    """Return the routing table that a state asks for."""
    parent = parents.get(state.champion)
    return routing.RoutingTable(
        generation=state.generation,
        model=state.model,
        champion=state.champion,
        candidate=state.candidate,
        # Only while watched: a version that is loaded costs memory.
        previous=state.previous if state.stage == "watch" else None,
        parent=parent,
        weight=state.weight,
        mirror=policy.mirror if state.candidate else 0.0,
        parent_mirror=policy.parent_mirror if parent else 0.0,
    )


def same(first: routing.RoutingTable | None, second: routing.RoutingTable | None) -> bool:
    """Say whether two tables route alike, whatever their generations."""
    if first is None or second is None:
        return first is second
    return first == msgspec.structs.replace(second, generation=first.generation)
