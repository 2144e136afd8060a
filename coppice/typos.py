"""Explain a setting that is not valid, and name the nearest one that is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import pydantic


def nearest(key: str, known: set[str]) -> str:
    """End a sentence about an unknown key with the nearest known one, or with all of them.

    >>> nearest("prot", {"port", "host"})
    "; did you mean 'port'?"
    """
    close = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def variables(names: Sequence[str], tree: type[pydantic.BaseModel], *, free: str) -> list[str]:
    """Explain each environment variable that looks like a setting and is none.

    Parameters
    ----------
    names
        Names of variables that are set. Only those with two underscores are judged, and those that
        would be a setting if one of their underscores were two.
    tree
        The settings, with one level of sections.
    free
        Prefix behind which the user chooses the names.
    """
    known = {
        f"COPPICE_{section}__{field}".upper()
        for section, info in tree.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, pydantic.BaseModel)
        for field in info.annotation.model_fields
    }
    flat = {name.replace("__", "_") for name in known}
    unknown = [
        name
        for name in names
        if name.upper().startswith("COPPICE_")
        and ("__" in name or name.upper() in flat)
        and name.upper() not in known
        and not name.upper().startswith(free)
    ]
    return [f"{name} is not a setting{nearest(name.upper(), known)}" for name in unknown]


def explain(error: Any, tree: type[pydantic.BaseModel]) -> str:
    """Put one finding of pydantic into a sentence that names the key from the top."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place}: is missing and has no default"
    if error["type"] != "extra_forbidden":
        return f"{place or 'settings'}: {error['msg']}{_got(place, error['input'])}"
    *parents, key = error["loc"]
    model: Any = tree
    for parent in parents:
        model = model.model_fields[parent].annotation
    return f"{place}: no such setting{nearest(str(key), set(model.model_fields) - {'root'})}"


def _got(place: str, value: Any) -> str:
    if isinstance(value, dict):  # a whole table, whose secrets are not known from its name
        return ""
    secret = any(word in place for word in ("secret", "password"))
    return f" (got {'a secret' if secret else repr(value)[:80]})"
