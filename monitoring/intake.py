"""A single monitor's way from events to the state: one shard of everything, folded as it comes."""

from __future__ import annotations

from coppice import records, settings
from monitoring import state as states
from monitoring.fold import Fold
from monitoring.knowledge import Knowledge, Scorings
from monitoring.shard import Shard


class Intake:
    """Fold events into a state.

    Parameters
    ----------
    state
        Is changed in place.
    tree
        The project's settings.
    knowledge
        Manifests and references of the versions that events speak of.
    """

    def __init__(self, state: states.State, tree: settings.Settings, knowledge: Knowledge) -> None:
        self.state = state
        scorings = Scorings(knowledge)
        self._shard = Shard(state.requests, state.events, tree, scorings)
        self._fold = Fold(state, tree, knowledge, scorings)

    def take(self, event: records.Event) -> None:
        """Take in one event; what cannot be read is counted and passed over."""
        fact = self._shard.take(event)
        if fact is not None:
            self._fold.take(fact)

    def assume(self, route: states.Route, now: float) -> None:
        """Take roles from elsewhere than the log; see `Fold.assume`."""
        self._fold.assume(route, now)
