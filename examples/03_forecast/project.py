"""A forecast by a recurrent network: how much the air's carbon dioxide changes in a quarter.

The data are the weekly means of Mauna Loa, 1958 to 2001, that statsmodels ships. Of each week the
model reads the five quarters up to it, and says how many ppm (parts per million) the mean thirteen
weeks later lies above or below the week's own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from statsmodels.datasets import co2
from torch import nn

from coppice.project import Data, Split

YEAR, PAST, AHEAD = 52, 65, 13
"""Weeks: in a year, that the model reads, and that it looks ahead."""
VALIDATION, HOLDOUT = pd.Timestamp("1984-01-01"), pd.Timestamp("1987-01-01")
"""Where the splits begin. A forecast is judged on the future, so they are cut by date."""
SEASONS = ("winter", "spring", "summer", "autumn")
UNITS = 64


class Forecast(nn.Module):
    """Gated recurrent units over the weeks, and a small network on the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.weeks = nn.GRU(1, UNITS, batch_first=True)
        self.hidden = nn.Linear(UNITS, UNITS)
        self.change = nn.Linear(UNITS, 1)

    def forward(self, ppm: torch.Tensor) -> torch.Tensor:
        """Map the past weeks [rows, 65] in ppm to the change to come [rows, 1] in ppm."""
        # The level rises for ever; seen from the last week, one year looks like another.
        since = (ppm - ppm[:, -1:]).unsqueeze(2)
        states, _ = self.weeks(since)
        return self.change(torch.relu(self.hidden(states[:, -1])))


def build_model() -> nn.Module:
    """Return the dense architecture, untrained."""
    return Forecast()


def load_data() -> Data:
    """Cut the weeks by date. No training row's answer lies in a later split."""
    weekly = co2.load_pandas().data["co2"]
    first, last = weekly.index[0], weekly.index[-1]
    # 59 of 2,284 weeks were never measured: a straight line bridges each gap.
    weekly = weekly.interpolate()
    return Data(
        train=_windows(weekly, first, VALIDATION),
        validation=_windows(weekly, VALIDATION, HOLDOUT),
        holdout=_windows(weekly, HOLDOUT, last + pd.Timedelta(weeks=1)),
        source="Keeling and Whorf: Atmospheric CO2 at Mauna Loa, weekly means (statsmodels co2)",
        licence="public domain",
        collected_from=first.date(),
        collected_to=last.date(),
    )


def _windows(weekly: pd.Series, start: pd.Timestamp, end: pd.Timestamp) -> Split:
    """Return a row for every week from `start` on whose answer lies before `end`."""
    now = np.arange(PAST - 1, len(weekly) - AHEAD)
    now = now[(weekly.index[now] >= start) & (weekly.index[now + AHEAD] < end)]
    values = weekly.to_numpy()
    past = values[now[:, None] + np.arange(1 - PAST, 1)]
    season = np.array(SEASONS)[weekly.index[now].month.to_numpy() % 12 // 3]
    return Split(
        inputs={"ppm": past.astype(np.float32)},
        targets=(values[now + AHEAD] - values[now]).astype(np.float32),
        # The plants of the north breathe in from May on: each season is a task of its own.
        slices={"season": season},
    )


def as_last_year(past: np.ndarray) -> np.ndarray:
    """Forecast without a network: what the same thirteen weeks brought a year ago, [rows]."""
    return past[:, AHEAD - 1 - YEAR] - past[:, -1 - YEAR]
