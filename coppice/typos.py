"""Explain a setting that is not valid, and name the nearest one that is."""

from __future__ import annotations

import difflib
from typing import Any

import pydantic


def nearest(key: str, known: set[str]) -> str:
    """End a sentence about an unknown key with the nearest known one, or with all of them.

    >>> nearest("prot", {"port", "host"})
    "; did you mean 'port'?"
    """
    close = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def explain(error: Any, tree: type[pydantic.BaseModel]) -> str:
    """Put one finding of pydantic into a sentence that names the key from the top."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']} (got {error['input']!r})"
    *parents, key = error["loc"]
    model: Any = tree
    for parent in parents:
        model = model.model_fields[parent].annotation
    return f"{place}: no such setting{nearest(str(key), set(model.model_fields) - {'root'})}"
