"""A new leader first waits for the events of the old one: pure.

Of several controllers one leads, each on its own replica of the log. Who takes over may not have
seen the last step of who led before. The routes show that step already, with a newer generation
than the log's; planned from the older state, the next step could undo it. So a new leader waits
until its log has caught up, but not for ever: the old one may have died between routes and log.
"""

from __future__ import annotations

from typing import NamedTuple

PATIENCE_SECONDS = 60.0
"""How long a leader waits for a log that lags behind the routes."""


class Lead(NamedTuple):
    """That we lead.

    Attributes
    ----------
    since
        Monotonic seconds at which we began to.
    acts
        Whether we move anything by now.
    """

    since: float
    acts: bool


def lead(before: Lead | None, *, behind: bool, patience: float, now: float) -> Lead:
    """Return how a leader stands.

    Parameters
    ----------
    before
        How it stood at its last look; `None` where it did not lead then.
    behind
        Whether the routes are of a newer generation than the log.
    patience
        Longest wait, seconds.
    now
        Monotonic seconds.

    Examples
    --------
    >>> first = lead(None, behind=True, patience=60.0, now=100.0)
    >>> lead(first, behind=True, patience=60.0, now=159.0).acts
    False
    >>> lead(first, behind=True, patience=60.0, now=160.0).acts
    True
    """
    since = now if before is None else before.since
    # Once it acts it goes on: what it writes itself, and what others edit, is newer than the log.
    acted = before is not None and before.acts
    return Lead(since, acts=acted or not behind or now - since >= patience)
