"""What shapes cost on the target: a table kept between runs and shared between processes.

One process times at a time, and a structure that another has measured meanwhile is not timed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrain import store
from retrain.search import deadline, gauge, subject, terms


class Table:
    """Measures structures, and remembers.

    Parameters
    ----------
    of
        The dense model, whose structure is the other half of every entry.
    kept
        Where entries lie.
    source
        Digest of the code that the model comes of.
    """

    def __init__(
        self, of: subject.Subject, on: terms.Terms, kept: store.Store, source: str
    ) -> None:
        self.of = of
        self.on = on
        self._kept = kept
        self._source = source
        self._told = on.key()
        self._dense = subject.structure_digest(of.model, source)

    def fill(
        self,
        wanted: Sequence[subject.Shape],
        told: Callable[[float], None],
        *,
        until: deadline.Deadline,
    ) -> list[gauge.Cost | None]:
        """Return the cost of each shape, in order; `None` where the time ran out before.

        Parameters
        ----------
        told
            The share that is done.
        """
        found: list[gauge.Cost | None] = []
        with gauge.Gauge(self.of, self.on) as measuring:
            for number, shape in enumerate(wanted):
                told(number / len(wanted))
                found.append(self._cost(self.of.structure(shape), measuring, until))
        told(1.0)
        return found

    def _cost(
        self, structure: subject.Structure, measuring: gauge.Gauge, until: deadline.Deadline
    ) -> gauge.Cost | None:
        digest = subject.structure_digest(structure.model, self._source)
        key = {**self._told, "dense": self._dense, "structure": digest}
        found = self._kept.get(key, gauge.Cost)
        if found is not None or until.over:
            return found
        prepared = measuring.prepare(structure)
        with self._kept.turn():
            found = self._kept.get(key, gauge.Cost)
            if found is None:
                found = measuring.measure(prepared)
                self._kept.put(key, found)
        return found
