"""The recipe around what a search chooses: what comes before it, what it fills in, what follows.

Pure. A search chooses the blocks of a step of level layer and the widths of one of level neuron
behind it. Earlier steps of the recipe that it was given stay before both, single weights after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from coppice import errors
from retrain.pruning import recipe

LEFT_OUT = 0.9
"""Amount of a block that is left out: any share above a half says so."""
RANKED_BY = "block-influence"
"""Criterion of the step that leaves blocks out, and of the order in which they go."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """A recipe, parted.

    Attributes
    ----------
    base
        The recipe that was given: its schedule and recovery hold for the whole chain.
    before
        Steps that are carried out first, as they are.
    step
        The step of level neuron whose amounts are chosen.
    after
        Steps of level connection that follow.
    """

    base: recipe.Recipe
    before: tuple[recipe.Step, ...]
    step: recipe.Step
    after: tuple[recipe.Step, ...]

    def filled(
        self, out: Sequence[str], amounts: Mapping[str, float], **changes: Any
    ) -> recipe.Recipe:
        """Return the whole recipe that leaves some blocks out and removes shares of groups.

        Parameters
        ----------
        changes
            Fields of the recipe, such as how long it recovers.
        """
        widths = dataclasses.replace(self.step, amount=0.0, amounts=amounts, scope="local")
        return _recipe((*self.before, *_without(out), widths, *self.after), self.base, **changes)

    def start(self) -> recipe.Recipe | None:
        """Return the recipe of the steps before, in one cut; `None` where there are none."""
        return _recipe(self.before, self.base, schedule="one-shot") if self.before else None

    def key(self) -> dict[str, Any]:
        """Return what the structures of this chain, and the units that stay, follow from."""
        return {
            "before": [dataclasses.asdict(step) for step in self.before],
            "criterion": self.step.criterion,
            "inside": self.step.inside,
        }

    def pinned(self, out: Sequence[str]) -> Chain:
        """Return the chain whose earlier steps leave just these blocks out, by name.

        What a ranking chooses may change with the training between two cuts; what the search has
        measured must not.
        """
        first = next((n for n, each in enumerate(self.before) if each.level == "layer"), None)
        before = [
            each
            for number, each in enumerate(self.before)
            if each.level != "layer" or number == first
        ]
        pinned = tuple(
            dataclasses.replace(each, amount=0.0, amounts=dict.fromkeys(out, LEFT_OUT))
            if each.level == "layer"
            else each
            for each in before
        )
        return dataclasses.replace(self, before=pinned)


def parted(base: recipe.Recipe) -> Chain:
    """Part a recipe into what comes before the widths, the widths, and what follows.

    The last step of level neuron is the one whose widths are chosen. Where there is none, one is
    put behind the steps that leave blocks out.

    Examples
    --------
    >>> found = parted(recipe.Recipe(level="layer", criterion="ablation"))
    >>> [step.level for step in found.before], found.step.level, found.after
    (['layer'], 'neuron', ())

    Raises
    ------
    PruningError
        It leaves blocks out behind the widths.
    """
    steps = base.steps
    levels = [step.level for step in steps]
    if "neuron" in levels:
        place = len(levels) - 1 - levels[::-1].index("neuron")
        chain = Chain(base=base, before=steps[:place], step=steps[place], after=steps[place + 1 :])
    else:
        place = len(levels) - levels[::-1].index("layer") if "layer" in levels else 0
        added = recipe.Step(align=base.align)
        chain = Chain(base=base, before=steps[:place], step=added, after=steps[place:])
    if any(step.level == "layer" for step in chain.after):
        message = (
            f"the search leaves blocks out before it chooses widths, and this recipe is "
            f"{' then '.join(levels)}; put its steps of level layer before those of level neuron"
        )
        raise errors.PruningError(message)
    return chain


def _without(out: Sequence[str]) -> tuple[recipe.Step, ...]:
    if not out:
        return ()
    amounts = dict.fromkeys(out, LEFT_OUT)
    return (recipe.Step(level="layer", criterion=RANKED_BY, amount=0.0, amounts=amounts),)


def _recipe(steps: Sequence[recipe.Step], base: recipe.Recipe, **changes: Any) -> recipe.Recipe:
    first = {field.name: getattr(steps[0], field.name) for field in dataclasses.fields(recipe.Step)}
    return dataclasses.replace(base, **first, then=tuple(steps[1:]), **changes)
