"""Which recipe near a refused one is known to pass: what earlier cards of the parent remember."""

from __future__ import annotations

from collections.abc import Mapping

from coppice import errors
from coppice.registry.base import Registry
from retrain import card, gates
from retrain.pruning import recipe


def advise(
    results: tuple[gates.GateResult, ...], wanted: recipe.Recipe, parent: str, registry: Registry
) -> tuple[gates.GateResult, ...]:
    """Tell every refusal which recipe of the same parent passed; looks only if there is one."""
    if not gates.refusals(results):
        return results
    known = cards(registry, parent.partition(":")[0])
    return gates.advise(results, advice(wanted, parent, known))


def cards(registry: Registry, name: str) -> dict[str, card.Card]:
    """Return the cards of all versions of a name by tag, newest first; unreadable ones are left."""
    found: dict[str, card.Card] = {}
    for tag in registry.tags(name):
        try:
            found[tag] = card.read(registry.path(tag))
        except errors.CoppiceError:
            continue
    return found


def advice(wanted: recipe.Recipe, parent: str, known: Mapping[str, card.Card]) -> str:
    """Say which accepted recipe of the same parent lies nearest to one that was refused.

    The same criterion counts before the amount. Empty where none of the parent's prunings passed.
    """
    passed = {
        tag: each.recipe
        for tag, each in known.items()
        if each.lineage.parent == parent
        and each.status == "accepted"
        and each.recipe is not None
        and each.recipe != wanted
    }
    if not passed:
        return ""
    tag = min(passed, key=lambda each: _distance(wanted, passed[each]))
    found = passed[tag]
    return (
        f"the nearest recipe of this parent that passed: amount {found.amount:g} by "
        f"{found.criterion} ({tag})"
    )


def _distance(wanted: recipe.Recipe, found: recipe.Recipe) -> tuple[bool, float]:
    return found.criterion != wanted.criterion, abs(found.amount - wanted.amount)
