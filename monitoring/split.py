"""Split canaries: a canary request beside a stable one, where no request is answered by both.

A request that is not mirrored shows one version's answer only. But lanes are drawn, by a keyed hash
that knows nothing of the request, so a labelled request of the canary lane and one of the stable
lane are two draws from the same traffic: the score of the stable one minus that of the canary one
is an outcome in [-1, 1] whose mean is the candidate's harm, as that of a mirrored pair is. It only
scatters more, so it takes two to four times as many. Each request stands in one pair at most, and
every one is paired with the newest that waits on the other side, lest a change of the traffic be
taken for harm. The order is that of the labels; as with all natural labels the assumption is that
when a label comes does not depend on the outcome.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Side: TypeAlias = Literal["stable", "canary"]

KEPT = 100
"""Requests that wait on one side; older ones go, as they are from another hour."""


class Sides(msgspec.Struct):
    """Labelled requests that wait for one of the other lane.

    Examples
    --------
    >>> sides = Sides()
    >>> sides.add(1.0, "stable"), sides.add(0.0, "stable"), sides.add(1.0, "canary")
    (None, None, -1.0)
    """

    stable: list[float] = []
    """Scores, oldest first."""
    canary: list[float] = []

    def add(self, score: float, side: Side) -> float | None:
        """Take in a request's score; return the outcome if it makes a pair.

        Parameters
        ----------
        score
            Mean score over the rows of the request, in [0, 1].
        side
            The lane that answered it.
        """
        waiting, own = (
            (self.canary, self.stable) if side == "stable" else (self.stable, self.canary)
        )
        if not waiting:
            own.append(score)
            del own[:-KEPT]
            return None
        other = waiting.pop()
        return score - other if side == "stable" else other - score
