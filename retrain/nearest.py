"""Which recipe near a refused one is known to pass: what earlier cards of the parent remember."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping

from coppice import errors
from coppice.registry.base import Registry
from retrain import card, gates
from retrain.pruning import recipe, wording


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

    The same levels count before the same criteria, these before the way of cutting, and that before
    the amounts. Empty where none of the parent's prunings passed.
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
    found = wording.whole(passed[tag])
    return f"the nearest recipe of this parent that passed: {found} ({tag})"


def _distance(wanted: recipe.Recipe, found: recipe.Recipe) -> tuple[bool, bool, bool, float, int]:
    """Return what differs, what weighs most first; recovery only where all else is the same."""

    def each(plan: recipe.Recipe, *fields: str) -> list[tuple[object, ...]]:
        return [tuple(getattr(step, field) for field in fields) for step in plan.steps]

    return (
        each(wanted, "level") != each(found, "level"),
        each(wanted, "criterion") != each(found, "criterion"),
        (each(wanted, "scope", "pattern", "inside"), wanted.schedule)
        != (each(found, "scope", "pattern", "inside"), found.schedule),
        _apart(wanted, found),
        abs(wanted.finetune_epochs - found.finetune_epochs),
    )


def _apart(wanted: recipe.Recipe, found: recipe.Recipe) -> float:
    """Return how far the amounts lie apart, step by step; a step that one lacks removes nothing."""
    nothing = recipe.Step(amount=0.0)
    total = 0.0
    for one, other in itertools.zip_longest(wanted.steps, found.steps, fillvalue=nothing):
        names = {*one.amounts, *other.amounts}
        gaps = [abs(one.share(name) - other.share(name)) for name in names]
        total += statistics.fmean([abs(one.amount - other.amount), *gaps])
    return total
