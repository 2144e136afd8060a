"""How production rows got their labels: from whom, and with or without sight of the prediction.

A person who sees what the model said before judging tends to say the same (automation bias), and a
model that learns from such labels learns its own mistakes (a feedback loop). So the rows are
counted by who labelled them and by whether the prediction was seen, beside how often the label
agrees with the prediction. Pure counts; `retrain.evaluate.labels` judges them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from coppice.labels import Floats

Part: TypeAlias = Literal["learned from", "held back", "unused"]

AGREES = 0.99
"""Least score of an answer against its label at which the two agree. For classes the score is 0 or
1; for a regression it is a hundredth of `project.scale` or less apart, as copied values are."""
ASSISTED = "model-assisted"
"""Source of labels that a model suggested."""


class Key(NamedTuple):
    """What the rows of one group have in common."""

    part: Part
    source: str
    saw_prediction: bool
    annotator: str
    """Keyed hash of whoever labelled; empty where nobody was named."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelling:
    """Rows that were labelled in one way.

    Attributes
    ----------
    key
        What they have in common.
    rows
        Labelled rows.
    answered
        Rows whose answer is known too, so that it can be compared with the label.
    agreed
        Rows of these whose label is the answer.
    """

    key: Key
    rows: int
    answered: int = 0
    agreed: int = 0

    @property
    def independent(self) -> bool:
        """Whether no model had a say: it suggested nothing, and its answer was not seen."""
        return not self.key.saw_prediction and self.key.source != ASSISTED


class Sighting(NamedTuple):
    """One labelled request: how it was labelled, and how its answer scored."""

    key: Key
    rows: int
    scores: Floats | None
    """Of the answers against the labels [rows]; `None` where no answer was stored."""


def tally(seen: Iterable[Sighting]) -> tuple[Labelling, ...]:
    """Count rows by how they were labelled, in a fixed order.

    >>> key = Key("learned from", "human", True, "")
    >>> found = tally([Sighting(key, 2, np.array([1.0, 0.0])), Sighting(key, 1, None)])
    >>> found[0].rows, found[0].answered, found[0].agreed
    (3, 2, 1)
    """
    groups: dict[Key, list[Sighting]] = {}
    for sighting in seen:
        groups.setdefault(sighting.key, []).append(sighting)
    return tuple(_count(key, found) for key, found in sorted(groups.items()))


def _count(key: Key, found: Sequence[Sighting]) -> Labelling:
    scores = [sighting.scores for sighting in found if sighting.scores is not None]
    return Labelling(
        key=key,
        rows=sum(sighting.rows for sighting in found),
        answered=sum(len(each) for each in scores),
        agreed=sum(int(np.count_nonzero(each >= AGREES)) for each in scores),
    )


def independent_share(labellings: Iterable[Labelling]) -> float | None:
    """Return the share of independent labels among the rows that are learned from.

    Independent means that no model had a say: the source is not `model-assisted`, and whoever
    labelled did not see the prediction. `None` where no production row is learned from, or where
    nothing is known about how the labels came about.

    >>> unseen = Labelling(key=Key("learned from", "human", False, ""), rows=3)
    >>> seen = Labelling(key=Key("learned from", "human", True, ""), rows=1)
    >>> independent_share([unseen, seen])
    0.75
    >>> independent_share([]) is None
    True
    """
    learned = [each for each in labellings if each.key.part == "learned from"]
    rows = sum(each.rows for each in learned)
    return sum(each.rows for each in learned if each.independent) / rows if rows else None
