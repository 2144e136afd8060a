"""The card: a version's lineage and every measured figure, as JSON beside the model.

Keys come in one fixed order, so two cards can be compared line by line.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import msgspec

from coppice import __version__, artifact, errors
from retrain import gates, packing, quality
from retrain.evaluate import evaluation, section
from retrain.pruning import recipe

SCHEMA = 2
"""Raised when a field changes its meaning. Cards of schema 1 are read too: they lack sections."""
_LIBRARIES = ("torch", "torch-pruning", "onnx", "onnxscript", "onnxruntime", "numpy")


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version comes from.

    The same parent, data, recipe, seed and libraries give the same version again.
    """

    parent: str | None = None
    """Tag of the dense parent; `None` for a dense parent itself."""
    origin: str
    """How it came about: `trained`, `checkpoint`, `retrained`, or `pruned`."""
    reason: str
    """Why it was made, as a sentence."""
    cause: str
    """`manual`, or the cause of the decay that it answers."""
    fingerprint: str
    """Digest of what a dense parent follows from: data, training settings, checkpoint, module."""
    data: str
    """Digest of the data snapshot."""
    rows: dict[str, int]
    """Rows by the use that was made of them."""
    seed: int


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about a version."""

    schema: int = SCHEMA
    status: str
    """`accepted`, `forced` or `refused`; a dense parent is always `accepted`."""
    lineage: Lineage
    recipe: recipe.Recipe | None = None
    """What was pruned and how; `None` for a dense parent."""
    libraries: dict[str, str]
    """Versions of what made it."""
    evaluation: evaluation.Evaluation
    gates: tuple[gates.GateResult, ...] = ()
    quality: quality.Quality
    cost: dict[str, float] = {}
    """By column: multiply-accumulates for one row, trained parameters, those of them that are not
    zero, and bytes of the served graph once compressed."""
    sections: dict[str, section.Section] = {}
    """Deeper measurements by name; also those that were not made, with the reason."""
    packing: packing.Packing | None = None
    """What serves it, and what else was tried; `None` for a dense parent."""


def libraries() -> dict[str, str]:
    """Return the versions of Coppice, Python, and the libraries that shape a model.

    >>> list(libraries())[:2]
    ['coppice', 'python']
    """
    own = {"coppice": __version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def to_tree(card: Card) -> dict[str, Any]:
    """Return the card as plain values, ready for JSON, its keys in the order of the fields."""
    tree: dict[str, Any] = msgspec.to_builtins(card)
    return tree


def read(folder: Path) -> Card:
    """Read the card of an artifact.

    Raises
    ------
    ArtifactError
        There is none, or it was written by something else than this version's flow.
    """
    path = folder / artifact.CARD
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Card)
    except FileNotFoundError as cause:
        message = f"{folder} has no {artifact.CARD}"
        raise errors.ArtifactError(message) from cause
    except msgspec.MsgspecError as cause:
        message = f"{path} is not a card of this version ({cause}); prune again to write a new one"
        raise errors.ArtifactError(message) from cause
    if found.schema > SCHEMA:
        message = f"{path} was written by a newer Coppice (schema {found.schema}); use that one"
        raise errors.ArtifactError(message)
    return found


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a card, for programs that read `card.json`."""
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Coppice card"}
    return title | msgspec.json.schema(Card)


def figures(card: Card) -> dict[str, float]:
    """Return the few figures that a candidate event carries."""
    table = card.evaluation.holdout
    found = {f"{name}_score": column["score"] for name, column in table.columns.items()}
    for name, comparison in table.comparisons.items():
        found[f"drop_vs_{name}"] = comparison.drop
    if card.evaluation.latency is not None:
        found["latency_gain"] = card.evaluation.latency.gain
    if "candidate_macs" in card.cost:
        found["macs_ratio"] = card.cost["parent_macs"] / max(card.cost["candidate_macs"], 1.0)
    if card.evaluation.production is not None:
        columns = card.evaluation.production.columns
        found |= {f"production_{name}_score": figure["score"] for name, figure in columns.items()}
    return found
