"""From the word by which a person means a version to its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coppice import artifact

if TYPE_CHECKING:
    from coppice.registry import base
    from retrain import card


def tag_of(registry: base.Registry, name: str, wanted: str) -> str:
    """Return the full tag of what is wanted: a tag, an alias, or the start of an id.

    Parameters
    ----------
    name
        The project's name, for words that do not say it.

    Raises
    ------
    UnknownVersion
        Nothing, or more than one thing, goes by that word.
    """
    return artifact.tag(registry.path(wanted if ":" in wanted else f"{name}:{wanted}"))


def card_of(registry: base.Registry, name: str, wanted: str) -> tuple[str, card.Card]:
    """Return the full tag of what is wanted, and its card.

    Raises
    ------
    UnknownVersion
        Nothing, or more than one thing, goes by that word.
    ArtifactError
        The version has no card that can be read.
    """
    from retrain import card

    tag = tag_of(registry, name, wanted)
    return tag, card.read(registry.path(tag))
