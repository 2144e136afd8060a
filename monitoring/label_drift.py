"""Whether the labels that come are still distributed like the reference's targets (pure).

Classes: Pearson's chi-square of the two rows of counts, against the same statistic when all labels
are dealt to the two sides at random. That is exact for every number of labels and any rare class,
where the table of the chi-square distribution is not. Values of a regression: the two-sample
Kolmogorov-Smirnov test, exact as well.

Either way the p-value of a clean window is at most the stated rate with at most that probability,
as long as labels come whatever the truth. Labels that were asked for because two versions
disagreed are thinned to their share of the traffic before they come here; see
`trials.Trial.representative`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import labels
from monitoring import drift

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

DEALS_BEYOND = 20
"""Random deals beyond the rate, so that the p-value is sharp enough where it matters."""
SEED = 0


def look(
    reference: Floats, targets: Sequence[float] | Floats, rate: float, *, task: labels.Task
) -> drift.DriftLook:
    """Compare a window of labels with the reference's.

    Parameters
    ----------
    reference
        Targets of the reference: class indices, or values.
    targets
        Labels of the window, in the same form.
    rate
        Probability with which a clean window may alarm, in (0, 1).
    task
        Whether they are classes or values.

    Returns
    -------
    DriftLook
        Of the one column `label`, or for classes the one that moved farthest, as `label.<index>`;
        `alarmed` is `None` where one of the two is empty or not finite.

    Examples
    --------
    >>> found = look(np.array([0, 1] * 200), [0.0] * 80 + [1.0] * 20, 0.01, task="binary")
    >>> found.alarmed, found.reason[:53]
    (True, 'class 0 makes up 80.0% of 100 labels instead of 50.0%')
    """
    known, window = (np.asarray(values, dtype=np.float64) for values in (reference, targets))
    if not len(known) or not len(window) or not (np.isfinite(known).all()):
        reason = f"{len(window)} labels cannot be compared with {len(known)} of the reference"
        return drift.DriftLook(len(window), {}, {}, {"label": reason}, None, reason)
    if not np.isfinite(window).all():
        reason = "the labels hold NaN or infinite values"
        return drift.DriftLook(len(window), {}, {}, {"label": reason}, None, reason)
    if task == "regression":
        return _values(known, window, rate)
    return _classes(known, window, rate)


def _values(known: Floats, window: Floats, rate: float) -> drift.DriftLook:
    from scipy import stats

    p_value = float(stats.ks_2samp(known, window).pvalue)
    means = f"the mean of {len(window)} labels is {window.mean():.4g} instead of {known.mean():.4g}"
    return _conclude("label", p_value, rate, len(window), means)


def _classes(known: Floats, window: Floats, rate: float) -> drift.DriftLook:
    classes = int(max(known.max(), window.max())) + 1
    counts = [np.bincount(side.astype(np.int64), minlength=classes) for side in (window, known)]
    p_value = dealt_p_value(counts[0], counts[1], deals=math.ceil(DEALS_BEYOND / rate))
    shares = [side / side.sum() for side in counts]
    moved = int(np.abs(shares[0] - shares[1]).argmax())
    reason = (
        f"class {moved} makes up {shares[0][moved]:.1%} of {len(window)} labels "
        f"instead of {shares[1][moved]:.1%}"
    )
    return _conclude(f"label.{moved}", p_value, rate, len(window), reason)


def dealt_p_value(
    window: npt.NDArray[np.integer[Any]], reference: npt.NDArray[np.integer[Any]], deals: int
) -> float:
    """Return the chance of counts at least as far apart when all labels are dealt at random.

    Parameters
    ----------
    window, reference
        Labels by class.
    deals
        Random deals; the p-value is never below 1 / (deals + 1).

    Examples
    --------
    >>> dealt_p_value(np.array([50, 50]), np.array([500, 500]), deals=99)
    1.0
    """
    both = window + reference
    held = both > 0
    expected = both[held] * (window.sum() / both.sum())
    rng = np.random.default_rng(SEED)
    dealt = rng.multivariate_hypergeometric(both[held], int(window.sum()), size=deals)
    # The two sides' terms are in a fixed proportion, so one side tells the order of all deals.
    observed = ((window[held] - expected) ** 2 / expected).sum()
    reached = ((dealt - expected) ** 2 / expected).sum(axis=1) >= observed - 1e-9
    return float((1 + reached.sum()) / (deals + 1))


def _conclude(name: str, p_value: float, rate: float, rows: int, reason: str) -> drift.DriftLook:
    ratio = drift.ratio_of("ks", p_value, rate)
    return drift.DriftLook(rows, {name: p_value}, {name: ratio}, {}, ratio >= 1.0, reason)
