"""What to ask people: which pairs to label first, and how many labels a decision still takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from monitoring import bets, evidence

FORECAST = np.unique(np.geomspace(1, 1e7, 400).round())
"""Numbers of further pairs at which a forecast looks, 4% apart."""


def most_decisive(divergences: Sequence[float]) -> list[int]:
    """Return the order in which pending pairs are best labelled: greatest divergence, then oldest.

    A pending pair counts as the worst that its divergence allows, so the label of the greatest
    frees the most evidence, in either direction.

    >>> most_decisive([0.2, 1.0, 0.5, 1.0])
    [1, 3, 2, 0]
    """
    return sorted(range(len(divergences)), key=lambda place: (-divergences[place], place))


def labels_needed(state: evidence.PairedState, pending: Sequence[float] = ()) -> int | None:
    """Estimate how many more labels it takes to decide, if pairs go on as they did.

    Labels to come are taken to grow each bet as the labels so far did on average, together with one
    harm and one gain, so that there is an estimate before the first label. First the pending pairs
    get theirs, most decisive first; then pairs come that need labels as often as those so far.

    Returns
    -------
    int | None
        0 where the evidence decides already, `None` before the first pair and where it would never
        decide at this rate.

    Examples
    --------
    >>> state = evidence.PairedState().extend([0.0] * 970, labelled=False)
    >>> labels_needed(state, pending=[1.0] * 30)
    87
    """
    if not state.pairs and not pending:
        return None
    worst = np.sort(np.asarray(pending, dtype=np.float64))
    promote, rollback = state.margins.promote, state.margins.rollback
    needed = [
        _labels_to_threshold(
            state,
            np.array(state.promote),
            _Growth(
                bets.growth_below(evidence.OUTCOMES, promote), bets.growth_below(worst, promote)
            ),
        ),
        _labels_to_threshold(
            state,
            np.array(state.rollback),
            _Growth(
                bets.growth_above(evidence.OUTCOMES, rollback), bets.growth_above(-worst, rollback)
            ),
        ),
    ]
    return min((count for count in needed if count is not None), default=None)


class _Growth(NamedTuple):
    known: bets.Floats
    """Log growth per bet by harm, gain and tie, [3, bets]."""
    pending: bets.Floats
    """Log growth per bet by each pending pair as the worst, least decisive first, [n, bets]."""


def _labels_to_threshold(
    state: evidence.PairedState, wealth: bets.Floats, growth: _Growth
) -> int | None:
    harm, gain, tie = growth.known
    waiting = len(growth.pending)
    free = state.pairs - state.labels
    per_label = (wealth - free * tie + harm + gain) / (state.labels + 2)
    # Row k: the k most decisive of the pending pairs have their labels, the rest are the worst.
    unlabelled = np.vstack([np.zeros_like(wealth), growth.pending.cumsum(axis=0)])[::-1]
    labelled = np.arange(waiting + 1)[:, None] * per_label
    decides = bets.mixture(wealth + unlabelled + labelled) >= state.margins.threshold
    if decides.any():
        return int(decides.argmax())
    share = (state.labels + waiting + 2) / (state.pairs + waiting + 2)
    per_pair = share * per_label + (1.0 - share) * tie
    further = wealth + waiting * per_label + FORECAST[:, None] * per_pair
    decides = bets.mixture(further) >= state.margins.threshold
    return waiting + int(np.ceil(FORECAST[decides.argmax()] * share)) if decides.any() else None
