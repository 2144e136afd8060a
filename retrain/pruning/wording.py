"""A recipe in words for people. Pure, and read where there is no torch."""

from __future__ import annotations

from retrain.pruning import recipe

NOUNS = {"neuron": "channels", "layer": "blocks", "connection": "weights"}
"""What each level removes, for people."""


def step(found: recipe.Step) -> str:
    """Say what one step removes.

    >>> step(recipe.Step(criterion="magnitude", amount=0.5, scope="global"))
    '50% of all channels together by magnitude'
    """
    noun = NOUNS.get(found.level, found.level)
    what = {
        "global": f"all {noun} together",
        "criterion": f"the {noun}, as the criterion allots it,",
    }.get(found.scope, f"the {noun}")
    text = f"{100 * found.amount:.6g}% of {what} by {found.criterion}"
    if found.pattern != recipe.UNSTRUCTURED:
        text += f" in runs of {found.pattern}"
    count = len(found.amounts)
    return text + (f" ({count} of them by amounts of their own)" if count else "")


def whole(found: recipe.Recipe) -> str:
    """Say what a recipe removes, in how many cuts, and how long it recovers.

    >>> whole(recipe.Recipe(amount=0.5, schedule="gradual", finetune_epochs=4,
    ...     then=(recipe.Step(amount=0.25, criterion="random"),)))
    '50% of the channels by magnitude, then 25% of the channels by random; 3 gradual cuts each; 4 \
epochs of recovery'
    """
    parts = [", then ".join(step(each) for each in found.steps)]
    if found.schedule != "one-shot":
        parts.append(f"{found.rounds} {found.schedule} cuts" + (" each" if found.then else ""))
    parts.append(f"{found.finetune_epochs} epochs of recovery")
    return "; ".join(parts)


def removed(found: recipe.Recipe, level: str) -> float | None:
    """Return the share that all steps of a level ask for together, of what there was at first.

    `None` where a step of the level names amounts of single groups, which no one number tells.

    >>> removed(recipe.Recipe(amount=0.5, then=(recipe.Step(amount=0.5),)), "neuron")
    0.75
    """
    stays = 1.0
    for each in found.steps:
        if each.level == level:
            if each.amounts:
                return None
            stays *= 1.0 - each.amount
    return 1.0 - stays
