"""Whether labels echo the model: agreement of those who saw its answer against those who did not.

People who see a prediction first tend to confirm it (automation bias). If they agree with it
markedly more often than people who judged blind, their labels say less about the truth than about
the model, and a model that learns from them learns itself. Blind labels may differ for other
reasons too, such as harder requests being sent to people; so this is a signal, not a proof.

References
----------
Newcombe, Interval estimation for the difference between independent proportions, Statistics in
Medicine 17 (1998), 873-890. Fisher's exact test is taken one-sided: more agreement when seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from retrain import labelling
from retrain.evaluate import intervals


class Agreement(NamedTuple):
    """How often labels say what the model had said."""

    rows: int
    """Rows labelled, among them such whose answer is not known."""
    answered: int
    agreed: int

    def share(self, confidence: float) -> intervals.Interval | None:
        """Return the share that agrees, with Wilson's interval; `None` without answers."""
        if not self.answered:
            return None
        return intervals.wilson(self.agreed, self.answered, confidence=confidence)


class Comparison(NamedTuple):
    """Labels given with the prediction in sight, against those given blind."""

    gap: intervals.Interval
    """Agreement when seen minus agreement when not seen."""
    chance: float
    """Probability of so much more agreement, were seeing without influence."""


class Stamp(NamedTuple):
    """One annotator who saw the predictions, and how likely that agreement is by chance."""

    annotator: str
    agreement: Agreement
    chance: float


def agreement(groups: Iterable[labelling.Labelling], *, saw: bool) -> Agreement:
    """Add up the groups that saw the prediction, or those that did not."""
    chosen = [each for each in groups if (each.key.saw_prediction or _assisted(each)) is saw]
    return Agreement(
        rows=sum(each.rows for each in chosen),
        answered=sum(each.answered for each in chosen),
        agreed=sum(each.agreed for each in chosen),
    )


def _assisted(group: labelling.Labelling) -> bool:
    # Whoever is handed a suggestion has seen what a model says.
    return group.key.source == labelling.ASSISTED


def compare(seen: Agreement, unseen: Agreement, *, confidence: float) -> Comparison | None:
    """Compare agreement; `None` where one side has no known answers.

    >>> found = compare(Agreement(40, 40, 40), Agreement(40, 40, 32), confidence=0.95)
    >>> round(found.gap.value, 2), round(found.chance, 4)
    (0.2, 0.0027)
    """
    first, second = seen.share(confidence), unseen.share(confidence)
    if first is None or second is None:
        return None
    agreed = np.array([seen.agreed, unseen.agreed])
    table = np.stack([agreed, np.array([seen.answered, unseen.answered]) - agreed], axis=1)
    chance = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return Comparison(gap=intervals.newcombe(first, second), chance=chance)


def stamps(
    groups: Sequence[labelling.Labelling], unseen: Agreement, *, confidence: float
) -> tuple[Stamp, ...]:
    """Return every named annotator who saw predictions, the least likely agreement first.

    The chance is that of agreeing so often if agreement were as frequent as the upper end of the
    blind labels' interval allows, which gives every annotator the benefit of the doubt.
    """
    blind = unseen.share(confidence)
    if blind is None:
        return ()
    names = {each.key.annotator for each in groups if each.key.saw_prediction}
    found = [
        _stamp(name, [each for each in groups if each.key.annotator == name], blind.high)
        for name in names - {""}
    ]
    return tuple(sorted(found, key=lambda each: (each.chance, each.annotator)))


def _stamp(name: str, groups: Sequence[labelling.Labelling], usual: float) -> Stamp:
    found = agreement(groups, saw=True)
    # The chance of as many agreements or more.
    chance = float(stats.binom.sf(found.agreed - 1, found.answered, usual))
    return Stamp(annotator=name, agreement=found, chance=chance)
