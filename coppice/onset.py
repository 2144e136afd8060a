"""When a decay began: the point in a series of scores that splits it best into high and low. Pure.

Rows from before the world changed say nothing about the world as it is now, neither to who asks for
the cause nor to who learns from them. The monitor's alarm comes some labels after the change, so
the change lies inside the window of recent labels.
"""

from __future__ import annotations

import numpy as np

from coppice.labels import Floats

DEVIATIONS = 3.0
"""A drop counts from so many standard deviations on. Scores that never changed have a split with
such a drop in 4% to 12% of all windows of 150 to 400 (by simulation, at 60% to 97% right): it is
the largest of many, and uneven where wrong answers are rare. At 2.5 it would be 11% to 21%."""


def onset(scores: Floats) -> int:
    """Return the index at which scores begin to be lower; 0 where they are not seen to fall.

    Of all splits the one is taken whose drop of the mean is largest for its noise, that is, where
    (mean before - mean after) * sqrt(k (n - k) / n) is largest: the likelihood's choice for one
    change of the mean. It counts if it is at least `DEVIATIONS` times the standard deviation of
    the scores around those two means.

    Parameters
    ----------
    scores
        In the order of time, each in [0, 1].

    Examples
    --------
    >>> onset(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]))
    7
    >>> onset(np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]))
    0

    References
    ----------
    Hinkley, Inference about the change-point in a sequence of random variables, Biometrika 57
    (1970), 1-17.
    """
    rows = len(scores)
    if rows < 2:
        return 0
    before = np.arange(1, rows)
    sums = np.cumsum(scores, dtype=np.float64)
    drop = sums[:-1] / before - (sums[-1] - sums[:-1]) / (rows - before)
    weighed = drop * np.sqrt(before * (rows - before) / rows)
    best = int(weighed.argmax())
    high, low = np.split(np.asarray(scores, dtype=np.float64), [best + 1])
    noise = np.sqrt((high.var() * len(high) + low.var() * len(low)) / rows)
    # Rounding leaves a drop of some 1e-16 in a series that is flat.
    return best + 1 if weighed[best] > max(DEVIATIONS * float(noise), 1e-9) else 0


def rows_since(scores: Floats, *, least: int) -> int:
    """Return how many of the newest scores show the world as it is now.

    Those since the onset, though at least so many: a handful says nothing. They may be fewer than
    `least` only where there are no more.

    >>> rows_since(np.array([1.0] * 20 + [0.0] * 5), least=3)
    5
    >>> rows_since(np.array([1.0] * 20 + [0.0] * 5), least=10)
    10
    >>> rows_since(np.ones(4), least=10)
    4
    """
    return min(max(len(scores) - onset(scores), least), len(scores))
