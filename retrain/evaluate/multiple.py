"""Many questions asked at once: how sure to be of each, so that all together keep one promise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

_Name = TypeVar("_Name", bound=Hashable)


def holm(chances: Mapping[_Name, float]) -> dict[_Name, float]:
    """Adjust p-values so that calling those below alpha errs anywhere with chance alpha at most.

    Whatever the dependence between them. The smallest is multiplied by their number, the next by
    one less, and so on; an adjusted value is never below one that came before it.

    >>> {name: round(value, 3) for name, value in holm({"a": 0.03, "b": 0.01, "c": 0.04}).items()}
    {'a': 0.06, 'b': 0.03, 'c': 0.06}

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6 (1979), 65-70.
    """
    ordered = sorted(chances.items(), key=lambda pair: pair[1])
    adjusted: dict[_Name, float] = {}
    floor = 0.0
    for place, (name, chance) in enumerate(ordered):
        floor = max(floor, min(1.0, chance * (len(ordered) - place)))
        adjusted[name] = floor
    return {name: adjusted[name] for name in chances}
