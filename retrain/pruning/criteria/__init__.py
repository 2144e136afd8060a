"""How what can be removed is ranked: one file per criterion, found by its name.

A file `bn_scale.py` here that holds `CRITERION = base.Criterion(...)` is the criterion `bn-scale`
of recipes; nothing else has to be told, and the conformance tests run over it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from coppice import errors

if TYPE_CHECKING:
    # Recipes and cards name criteria, and are read where there is no torch.
    from retrain.pruning.criteria import base


def names() -> tuple[str, ...]:
    """Return the names of all criteria, sorted; imports none of them.

    >>> {"magnitude", "random", "taylor"} <= set(names())
    True
    """
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if name != "base"))


def load(name: str) -> base.Criterion:
    """Return a criterion by one of `names`."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found: base.Criterion = module.CRITERION
    return found


def check(name: str, level: str) -> base.Criterion:
    """Return a criterion that ranks what a level removes.

    Raises
    ------
    PruningError
        It does not rank this; the message says at which levels it can be used.
    """
    criterion = load(name)
    known = criterion.levels if criterion.score is not None else ()
    known = (*known, "connection") if criterion.weigh is not None else known
    if level not in known:
        where = " or ".join(known)
        message = f"{name} does not rank what level {level} removes; use it with level {where}"
        raise errors.PruningError(message)
    return criterion
