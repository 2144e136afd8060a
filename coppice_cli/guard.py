"""A guard against shadowing: our top-level packages have generic names, which a file can hide.

A user's `service.py` on the search path ahead of ours would be imported in its place, and fail far
from the cause. The guard asks where each name would come from, without importing it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from coppice import errors

PACKAGES = ("coppice", "service", "monitoring", "retrain", "deploy")
HOME = Path(__file__).resolve().parent.parent
"""The folder that holds all our packages, this one too."""


def shadows(packages: tuple[str, ...] = PACKAGES, home: Path = HOME) -> list[tuple[str, Path]]:
    """Return each package that would be imported from elsewhere, with that place.

    >>> shadows()
    []
    """
    found = ((name, _origin(name)) for name in packages)
    return [
        (name, origin)
        for name, origin in found
        if origin is not None and origin != home / name / "__init__.py"
    ]


def check(packages: tuple[str, ...] = PACKAGES, home: Path = HOME) -> None:
    """Refuse to start where one of our packages is shadowed.

    Raises
    ------
    EnvironmentProblem
        Some other file would be imported in place of one of our packages.
    """
    for name, origin in shadows(packages, home):
        raise errors.EnvironmentProblem(explain(name, origin))


def explain(name: str, origin: Path) -> str:
    """Say in one line what is shadowed and what to do."""
    return (
        f"{origin} hides Coppice's own package {name!r}; rename that file, or start from a folder "
        "that is not on PYTHONPATH"
    )


def _origin(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    # A folder without __init__.py is a namespace package and has no origin of its own.
    origin = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    return Path(origin).resolve() if origin else None
