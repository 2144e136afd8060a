"""A table: which members of a small health insurer will see a doctor often next year.

The data are those of the RAND Health Insurance Experiment, 1974 to 1982, that statsmodels ships:
who took part, on which plan, and how often they saw a doctor in each year. A row is a member at the
end of a year; the answer is whether the next year brings a visit per quarter, or more.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import pandas as pd
import torch
from torch import nn

from coppice.project import Data, Split

OFTEN = 4
"""Visits in a year from which on a member sees a doctor `often`."""
CLASSES = ("seldom", "often")
AMOUNTS = (
    "mdvis",  # visits to a doctor this year
    "notmdvis",  # visits to others: nurses, therapists
    "drugdol",  # dollars spent on drugs
    "outpdol",  # dollars spent on visits
    "totadm",  # nights and days that began in a hospital
    "income",
    "num",  # people in the family
)
"""Columns that are never below 0 and have a long tail: the model takes their logarithm."""
NUMBERS = (*AMOUNTS, "xage", "educdec", "disea", "physlm", "mhi", "xghindx")
HEALTH = ("excellent", "good", "fair", "poor")
SHARES = (0, 25, 50, 95, 100)
"""Percent of a bill that a member pays, by plan."""
CODES = {"share": len(SHARES), "deductible": 2, "site": 6, "health": len(HEALTH), "sex": 2}
"""Columns of codes, and how many codes each has; `encode` says what they stand for."""


class Members(nn.Module):
    """Embeds each code, scales each number, and reads both with two wide layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(count, 8) for count in CODES.values()])
        self.scale = nn.BatchNorm1d(len(NUMBERS), affine=False)
        self.layers = nn.Sequential(
            nn.Linear(8 * len(CODES) + len(NUMBERS), 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(512, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(512, len(CLASSES)),
        )

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Map numbers [rows, 13] and codes [rows, 5] to a logit per class [rows, 2]."""
        amounts = torch.log1p(numbers[:, : len(AMOUNTS)].clamp(min=0))
        scaled = self.scale(torch.cat([amounts, numbers[:, len(AMOUNTS) :]], dim=1))
        embedded = [layer(codes[:, place]) for place, layer in enumerate(self.embeddings)]
        return self.layers(torch.cat([*embedded, scaled], dim=1))


def build_model() -> nn.Module:
    """Return the dense architecture, untrained."""
    return Members()


def load_data() -> Data:
    """Split by member, never by row: years of one person are too much alike."""
    table = _table()
    members = np.random.default_rng(0).permutation(table["zper"].unique())
    train, validation, holdout = np.split(members, [len(members) // 2, len(members) * 6 // 10])
    return Data(
        train=_split(table[table["zper"].isin(train)]),
        validation=_split(table[table["zper"].isin(validation)]),
        holdout=_split(table[table["zper"].isin(holdout)]),
        classes=CLASSES,
        source="RAND Health Insurance Experiment, as Cameron and Trivedi cut it (statsmodels)",
        licence="public domain",
    )


def _table() -> pd.DataFrame:
    """Return a row for each member and year that has a next year, which gives `visits`."""
    path = resources.files("statsmodels.datasets.randhie") / "src" / "randhie.csv"
    with resources.as_file(path) as file:
        table = pd.read_csv(file, usecols=["zper", "year", *NUMBERS, *_READ])
    table = table.dropna().sort_values(["zper", "year"])
    following = table.groupby("zper")[["year", "mdvis"]].shift(-1)
    table["visits"] = following["mdvis"]
    return table[following["year"] == table["year"] + 1]


_READ = ["coins", "idp", "site", "hlthg", "hlthf", "hlthp", "female"]


def encode(table: pd.DataFrame) -> np.ndarray:
    """Return the codes [rows, 5], in the order of `CODES`."""
    columns = [
        np.searchsorted(SHARES, table["coins"]),
        table["idp"],
        table["site"] - 1,
        table[["hlthg", "hlthf", "hlthp"]].to_numpy() @ [1, 2, 3],
        table["female"],
    ]
    return np.stack([np.asarray(column) for column in columns], axis=1).astype(np.int64)


def _split(table: pd.DataFrame) -> Split:
    codes = encode(table)
    return Split(
        inputs={"numbers": table[list(NUMBERS)].to_numpy(np.float32), "codes": codes},
        targets=(table["visits"] >= OFTEN).to_numpy(np.int64),
        slices={
            "health": np.array(HEALTH)[codes[:, 3]],
            "age": np.array(["child", "adult", "older"])[np.digitize(table["xage"], [18, 45])],
            "sex": np.array(["male", "female"])[codes[:, 4]],
        },
    )
