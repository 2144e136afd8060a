"""What a sweep consists of: which combinations, in which order, by which recipes. Pure."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from coppice import errors
from retrain.pruning import criteria, recipe
from retrain.sweep import record

Scored: TypeAlias = Literal["validation", "holdout"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Criteria times amounts times seeds.

    Attributes
    ----------
    base
        All that stays the same; its own criterion and amounts do not count.
    criteria, amounts, seeds
        What is combined.
    scored
        The split whose rows say how good a pruned model is. What is chosen by a split is flattered
        by it, so the holdout is better kept for the gates.

    Raises
    ------
    PruningError
        There is nothing to combine, or a name or number is not valid.
    """

    base: recipe.Recipe
    criteria: tuple[str, ...]
    amounts: tuple[float, ...]
    seeds: tuple[int, ...]
    scored: Scored = "validation"

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out, before any time is spent on it."""
        if not (self.criteria and self.amounts and self.seeds):
            raise errors.PruningError("a sweep needs a criterion, an amount and a seed at least")
        for each in self.combinations():
            self.recipe(each)
            if each.amount == 0:
                raise errors.PruningError("amount 0 prunes nothing; the null control stands for it")

    def combinations(self) -> tuple[record.Combination, ...]:
        """Return all combinations, seed by seed, so that a sweep cut short compares like with like.

        >>> base = recipe.Recipe()
        >>> plan = Plan(base=base, criteria=("random", "taylor"), amounts=(0.5,), seeds=(1, 2))
        >>> [(each.seed, each.criterion) for each in plan.combinations()]
        [(1, 'random'), (1, 'taylor'), (2, 'random'), (2, 'taylor')]
        """
        return tuple(
            record.Combination(criterion=criterion, amount=amount, seed=seed)
            for seed in dict.fromkeys(self.seeds)
            for amount in sorted(set(self.amounts))
            for criterion in dict.fromkeys(self.criteria)
        )

    def recipe(self, combination: record.Combination) -> recipe.Recipe:
        """Return the recipe of a combination."""
        return dataclasses.replace(
            self.base, criterion=combination.criterion, amount=combination.amount, amounts={}
        )


def chosen(wanted: str, *, control: bool) -> tuple[str, ...]:
    """Return the criteria that a list names, and the control before them where it is wanted.

    Parameters
    ----------
    wanted
        Names with commas between them, or `all`.

    Examples
    --------
    >>> chosen("taylor,magnitude", control=True)
    ('random', 'taylor', 'magnitude')
    """
    named = [name.strip() for name in wanted.split(",") if name.strip()]
    if named == ["all"]:
        named = [name for name in criteria.names() if name != record.CONTROL or control]
    first = [record.CONTROL] if control else []
    return tuple(dict.fromkeys([*first, *named]))


def numbers(words: str) -> tuple[float, ...]:
    """Return the amounts that a list names.

    >>> numbers("0.3, 0.5")
    (0.3, 0.5)

    Raises
    ------
    PruningError
        One is no number.
    """
    try:
        return tuple(float(word) for word in words.split(",") if word.strip())
    except ValueError as cause:
        message = f"{words!r} is no list of amounts; write for example 0.3,0.5"
        raise errors.PruningError(message) from cause
