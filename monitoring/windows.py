"""What the monitor remembers of each version: its most recent labelled rows and features.

Pure state over facts: nothing here reads a clock, a file or a log. Everything is bounded and made
of plain values, so that the whole of it goes into a checkpoint as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import records
from monitoring import performance


class LabelledRow(msgspec.Struct, frozen=True):
    """One row of a request whose truth is known, and how a version did on it."""

    request_id: str
    row: int
    target: float
    score: float
    slices: tuple[str, ...]
    answer: float | None = None
    """What the version answered, in the form of `answers.Answers`."""
    confidence: float | None = None
    """The score that it gave its own answer; `None` for a regression and very many classes."""
    surprise: float | None = None
    """Minus the logarithm of the score that it gave the truth."""
    delay: float = 0.0
    """Seconds from the request to its label; 0 where the label came first."""


class Window(msgspec.Struct):
    """The recent past of one version.

    Parameters
    ----------
    limit
        Most labelled rows that are kept.
    """

    limit: int
    rows: list[LabelledRow] = []
    """Oldest first; a little more than `limit` may be there, see `recent`."""
    answered: int = 0
    """Rows that it answered or would have answered."""
    labelled: int = 0
    """Rows whose truth came to be known, among all that it answered."""

    def add(self, row: LabelledRow) -> None:
        """Take in a labelled row and forget the oldest."""
        self.rows.append(row)
        # Cutting only now and then keeps the cost per row constant.
        if len(self.rows) >= 2 * self.limit:
            del self.rows[: -self.limit]

    def recent(self) -> list[LabelledRow]:
        """Return the most recent rows, at most `limit`, oldest first."""
        return self.rows[-self.limit :]

    def scores(self) -> dict[str, list[float]]:
        """Return the recent scores by slice; `all` holds every row.

        >>> window = Window(limit=2)
        >>> for score in (0.0, 1.0, 0.5):
        ...     window.add(LabelledRow("r", 0, 1.0, score, ("pen=ink",)))
        >>> window.scores()
        {'all': [1.0, 0.5], 'pen=ink': [1.0, 0.5]}
        """
        found: dict[str, list[float]] = {"all": []}
        for row in self.recent():
            for name in ("all", *row.slices):
                found.setdefault(name, []).append(row.score)
        return found

    def coverage(self) -> float:
        """Return the share of the answered rows whose truth is known."""
        return min(1.0, self.labelled / self.answered) if self.answered else 0.0


class FeatureWindow(msgspec.Struct):
    """Collects monitoring features until a window is full, then starts anew (tumbling).

    Parameters
    ----------
    size
        Rows per window.
    """

    size: int
    rows: int = 0
    chunks: list[bytes] = []
    columns: int = 0

    def add(self, features: records.Tensor) -> npt.NDArray[np.float32] | None:
        """Take in the features of a request; return a full window [size, features], if it is one.

        Features of another width than those before start the window anew.
        """
        count, columns = features.shape
        if columns != self.columns:
            self.columns, self.rows, self.chunks = columns, 0, []
        self.chunks.append(features.data)
        self.rows += count
        if self.rows < self.size:
            return None
        joined = np.frombuffer(b"".join(self.chunks), dtype="<f4").reshape(-1, columns)
        # One huge request must not leave more behind than it takes away.
        left = joined[self.size :][-(self.size - 1) :]
        self.rows, self.chunks = len(left), [left.tobytes()]
        return np.asarray(joined[: self.size], dtype=np.float32)


class Slices(msgspec.Struct):
    """Chooses the slices to watch: the first `limit` that prove to have traffic.

    The choice looks at traffic alone, never at outcomes, so that it cannot bias the evidence. A
    slice that is watched stays watched; the number of counted ones is bounded too.

    Parameters
    ----------
    limit
        Most slices that are watched.
    """

    limit: int
    watched: dict[str, int] = {}
    """Requests by slice."""
    waiting: dict[str, int] = {}
    passed_over: int = 0
    """Mentions of slices that are not watched because the limit is reached."""

    def admit(self, names: Iterable[str]) -> tuple[str, ...]:
        """Count a request's slices and return those of them that are watched.

        >>> slices = Slices(limit=1)
        >>> [slices.admit(["pen=ink"]) for _ in range(PROOF_OF_TRAFFIC)][-1]
        ('pen=ink',)
        >>> slices.admit(["pen=chalk"])
        ()
        """
        return tuple(name for name in names if self._count(name))

    def among(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of a request's slices that are watched, counting nothing.

        >>> Slices(limit=1, watched={"pen=ink": 5}).among(("pen=ink", "site=a"))
        ('pen=ink',)
        """
        return tuple(name for name in names if name in self.watched) if names else names

    def _count(self, name: str) -> bool:
        if name in self.watched:
            self.watched[name] += 1
            return True
        if len(self.watched) >= self.limit:
            self.passed_over += 1
            return False
        seen = self.waiting.pop(name, 0) + 1
        if seen >= PROOF_OF_TRAFFIC:
            self.watched[name] = seen
            return True
        self.waiting[name] = seen
        if len(self.waiting) > 10 * self.limit:
            del self.waiting[next(iter(self.waiting))]
        return False


PROOF_OF_TRAFFIC = 5
"""Requests that a slice must be seen in before it takes one of the few places."""


class Agreement(msgspec.Struct):
    """How often a version's recent answers were those of its dense parent.

    Parameters
    ----------
    limit
        Most rows that are kept.
    """

    limit: int
    rows: list[bool] = []
    first: list[bool] = []
    """The first `limit` rows ever: how often they agree where nothing has changed yet."""

    def add(self, agrees: Iterable[bool]) -> None:
        """Take in the rows of one mirrored request."""
        found = list(agrees)
        self.first.extend(found[: self.limit - len(self.first)])
        self.rows.extend(found)
        if len(self.rows) >= 2 * self.limit:
            del self.rows[: -self.limit]

    def recent(self) -> list[bool]:
        """Return the most recent rows, at most `limit`."""
        return self.rows[-self.limit :]

    def interval(self) -> performance.Interval:
        """Return the 95% interval of the recent share; all of [0, 1] without any rows."""
        recent = self.recent()
        return performance.wilson(sum(recent), len(recent))

    def fell(self) -> bool:
        """Say whether recent rows agree less often than the first ones, beyond chance.

        >>> agreement = Agreement(limit=100)
        >>> agreement.add([True] * 97 + [False] * 3)
        >>> agreement.add([True] * 80 + [False] * 20)
        >>> agreement.fell()
        True
        """
        usual = performance.wilson(sum(self.first), len(self.first))
        return self.interval().high < usual.low
