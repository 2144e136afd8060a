"""What is expected to be lost after the recipe's whole recovery, read off a short one. Pure.

Two things happen between the two. The null control gains, because it is trained as long: its error
falls by a small power of the rows that are learned from. And the pruned model makes up for what it
lacks of the control as that will be in the end: this gap falls by a larger power.

Neither power is read off a project's own probes, because that was tried and is worse than what is
usual (docs/pruning.md): from a race to a probe the gap fell by powers of 0.1 to 1.0, which told
nothing of those from there to the end, and on some thousand rows a control's gain over a probe is
smaller than its noise. What is usual was seen on one kind of data; its ranges are in the interval.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec


class Range(NamedTuple):
    """A figure, and the least and the most of it that were seen."""

    low: float
    usual: float
    high: float


RECOVERY = Range(0.5, 0.7, 1.1)
"""Powers of the rows by which the gap to the control of the end fell; see docs/pruning.md."""
GAIN = Range(0.0, 0.015, 0.03)
"""Powers of the rows by which the null control's error fell."""


class Loss(NamedTuple):
    """Mean score lost, with an interval."""

    value: float
    low: float
    high: float


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected after the recipe's whole recovery, against the null control trained as long.

    The interval holds what rows and powers leave open; it is as wide as what would be measured on
    as many rows again, so a small validation split makes it wide.
    """

    loss: float
    """Mean score lost."""
    low: float
    high: float
    left: float
    """Share of the gap to the control of the end that is expected to be left."""
    control_gain: float
    """Mean score that the null control usually gains between the short recovery and the whole."""


def after(lost: Loss, control: float, times: float) -> Forecast:
    """Forecast by what was lost after a short recovery.

    Parameters
    ----------
    lost
        Against the null control that was trained as long.
    control
        Mean score of that control.
    times
        How many times longer the whole recovery is; at most 1 leaves everything as it is.

    Examples
    --------
    >>> found = after(Loss(0.04, 0.03, 0.05), 0.9, 10.0)
    >>> [round(each, 4) for each in (found.control_gain, found.loss, found.low, found.high)]
    [0.0034, 0.0087, -0.0031, 0.0203]
    """
    longer = max(times, 1.0)
    least, gain, most = ((1.0 - control) * (1.0 - longer**-power) for power in GAIN)
    slow, left, fast = (longer**-power for power in RECOVERY)
    missing = lost.value + gain
    loss, size = missing * left, abs(missing)
    return Forecast(
        loss=loss,
        low=loss - math.hypot(lost.value - lost.low, gain - least, size * (left - fast)),
        high=loss + math.hypot(lost.high - lost.value, most - gain, size * (slow - left)),
        left=left,
        control_gain=gain,
    )
