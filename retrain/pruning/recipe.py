"""A recipe: what to prune and how, as one frozen value that a version's card keeps."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import msgspec

from coppice import errors, settings
from retrain.pruning import criteria

LEVELS = ("neuron", "layer", "connection")
"""What can be removed: whole units, filters and heads; whole blocks; or single weights."""
UNSTRUCTURED = "unstructured"
"""The pattern under which any weight may go."""
SCOPES = ("local", "global", "criterion")
"""Over what the amount holds: each group, all together, or as the criterion allots it."""
SCHEDULES = ("one-shot", "iterative", "gradual")
"""In how many cuts, and how large each is."""
PRECISIONS = ("fp32", "bf16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one level of a recipe removes.

    Attributes
    ----------
    level
        What is removed; one of `LEVELS`.
    criterion
        How it is ranked; one of `criteria.names()`.
    amount
        Share that is removed, in [0, 1): of the channels of each coupled group, of the blocks, or
        of the weights.
    amounts
        Shares of single groups or tensors, by name, in place of `amount`; of a search, for example.
    scope
        Over what `amount` holds; one of `SCOPES`.
    align
        Channel counts that remain are multiples of this; groups smaller than it stay whole.
    inside
        Neuron level: what goes inside attention beside the width it reads and gives; whole `heads`,
        or channels of every head, `dims`.
    pattern
        Connection level: `unstructured`, or `N:M` to keep N of every M neighbours in a row, for
        which the amount has to be 1 - N/M.
    """

    level: str = "neuron"
    criterion: str = "magnitude"
    amount: float = 0.5
    amounts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    scope: str = "local"
    align: int = 8
    inside: Literal["heads", "dims"] = "heads"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out, before any time is spent on it."""
        _check_name("level", self.level, LEVELS)
        _check_name("criterion", self.criterion, criteria.names())
        _check_name("scope", self.scope, SCOPES)
        _check_name("inside", self.inside, ("heads", "dims"))
        for name, amount in {"amount": self.amount, **self.amounts}.items():
            _check_range(name, amount, holds=0 <= amount < 1, allowed="[0, 1)")
        _check_range("align", self.align, holds=self.align >= 1, allowed="1, 2, 3, ...")
        if self.pattern != UNSTRUCTURED:
            self._check_pattern()

    def _check_pattern(self) -> None:
        run = run_of(self.pattern)
        if self.level != "connection":
            message = f"recipe: pattern {self.pattern} is of level connection, not {self.level}"
            raise errors.PruningError(message)
        for name, amount in {"amount": self.amount, **self.amounts}.items():
            holds = not amount or math.isclose(amount, run.amount, rel_tol=1e-6)
            allowed = f"{run.amount:g}, which pattern {self.pattern} removes, or 0"
            _check_range(name, amount, holds=holds, allowed=allowed)

    @property
    def removes_nothing(self) -> bool:
        """Whether every amount is 0."""
        return not any((self.amount, *self.amounts.values()))

    def share(self, name: str) -> float:
        """Return the amount of a group or tensor.

        >>> Step(amount=0.5, amounts={"stem": 0.25}).share("stem")
        0.25
        """
        return self.amounts.get(name, self.amount)

    def scaled(self, factor: float) -> Self:
        """Return the same step with every amount times a factor, a pattern's to a lower one.

        >>> step = Step(level="connection", pattern="2:4").scaled(0.9)
        >>> (step.pattern, step.amount)
        ('3:4', 0.25)
        """
        pattern = self.pattern
        if pattern != UNSTRUCTURED:
            run = run_of(pattern)
            kept = run.length - math.floor((run.length - run.kept) * factor)
            factor = (1 - kept / run.length) / run.amount
            pattern = f"{kept}:{run.length}" if kept < run.length else pattern
        return dataclasses.replace(
            self,
            amount=self.amount * factor,
            amounts={name: amount * factor for name, amount in self.amounts.items()},
            pattern=pattern,
        )


class Run(NamedTuple):
    """How many of so many neighbours stay."""

    kept: int
    length: int

    @property
    def amount(self) -> float:
        """Share that is removed."""
        return 1 - self.kept / self.length


def run_of(pattern: str) -> Run:
    """Read a pattern `N:M`.

    >>> run_of("2:4")
    Run(kept=2, length=4)

    Raises
    ------
    PruningError
        It is not one.
    """
    parts = re.fullmatch(r"(\d+):(\d+)", pattern)
    if parts is None or not 1 <= int(parts[1]) < int(parts[2]):
        message = f"recipe: pattern is {pattern!r}, allowed: {UNSTRUCTURED}, or such as 2:4"
        raise errors.PruningError(message)
    return Run(int(parts[1]), int(parts[2]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Step):
    """What to remove, level after level, in how many cuts, and how to recover.

    Attributes
    ----------
    then
        What is removed after the first step, each on what the one before has left.
    schedule
        One of `SCHEDULES`: all at once; in equal parts; or most at first and ever less, by a cubic.
    rounds
        Cuts of a schedule other than `one-shot`.
    round_epochs
        Passes of fine-tuning between two cuts.
    sparse_epochs, sparse_strength
        For criteria that rank what a penalty in the loss has shrunk: passes of that training before
        the first cut, and the weight of the penalty.
    batch_norm_rows
        Training rows used to re-estimate BatchNorm statistics right after a cut.
    finetune_epochs
        Passes of fine-tuning after the last cut.
    learning_rate
        Peak learning rate of all training here.
    distill_weight
        Share of the loss that is distance to the dense parent's answers, in [0, 1].
    temperature
        Softmax temperature of the distillation.
    precision
        Of the training's products; see `retrain.train.FitPlan`.

    Raises
    ------
    PruningError
        A name is not known, or a number lies outside its range; the message names what is allowed.

    Examples
    --------
    >>> Recipe(criterion="magnitude", amount=0.5).milder(0.5).amount
    0.25
    """

    then: tuple[Step, ...] = ()
    schedule: str = "one-shot"
    rounds: int = 3
    round_epochs: int = 1
    sparse_epochs: int = 1
    sparse_strength: float = 1e-4
    batch_norm_rows: int = 2048
    finetune_epochs: int = 10
    learning_rate: float = 1e-3
    distill_weight: float = 0.7
    temperature: float = 4.0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out, before any time is spent on it."""
        super().__post_init__()
        _check_name("schedule", self.schedule, SCHEDULES)
        _check_name("precision", self.precision, PRECISIONS)
        counts = {"rounds": 1, "round_epochs": 0, "sparse_epochs": 0, "finetune_epochs": 0}
        for name, least in {**counts, "batch_norm_rows": 1}.items():
            value = getattr(self, name)
            allowed = f"{least}, {least + 1}, {least + 2}, ..."
            _check_range(name, value, holds=value >= least, allowed=allowed)
        for name in ("learning_rate", "temperature", "sparse_strength"):
            _check_range(
                name, getattr(self, name), holds=getattr(self, name) > 0, allowed="above 0"
            )
        weight = self.distill_weight
        _check_range("distill_weight", weight, holds=0 <= weight <= 1, allowed="[0, 1]")

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is removed, in order; the recipe's own fields are the first step."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(Step)}
        return (Step(**own), *self.then)

    @property
    def removes_nothing(self) -> bool:
        """Whether every amount of every step is 0."""
        return all(step.removes_nothing for step in self.steps)

    @property
    def dues(self) -> tuple[float, ...]:
        """Say which share of each amount is due after each cut.

        References
        ----------
        Zhu, Gupta: To prune, or not to prune, 2017 (the cubic).

        Examples
        --------
        >>> Recipe(schedule="gradual", rounds=2).dues
        (0.875, 1.0)
        """
        if self.schedule == "one-shot":
            return (1.0,)
        parts = [number / self.rounds for number in range(1, self.rounds + 1)]
        if self.schedule == "gradual":
            parts = [1.0 - (1.0 - part) ** 3 for part in parts]
        return tuple(parts)

    def milder(self, factor: float) -> Recipe:
        """Return the same recipe that removes less: every amount times `factor`.

        Repeated, the amounts fall geometrically towards 0, at which nothing is removed.

        Raises
        ------
        PruningError
            The factor is not in (0, 1), so the result would not be milder.
        """
        _check_range("factor", factor, holds=0 < factor < 1, allowed="(0, 1)")
        return self._scaled(factor)

    def without_cut(self) -> Recipe:
        """Return the recipe that removes nothing and only fine-tunes.

        >>> Recipe(amount=0.5, amounts={"stem": 0.3}).without_cut().removes_nothing
        True
        """
        return self._scaled(0.0)

    def _scaled(self, factor: float) -> Recipe:
        scaled = self.scaled(factor)
        then = tuple(step.scaled(factor) for step in self.then)
        return dataclasses.replace(scaled, then=then)

    @classmethod
    def from_settings(cls, section: settings.PruneSettings) -> Recipe:
        """Take the recipe that `[prune]` in coppice.toml describes.

        >>> Recipe.from_settings(settings.PruneSettings(align=16)).align
        16
        """
        fields = section.model_dump()
        return cls(**{**fields, "then": tuple(Step(**step) for step in fields["then"])})

    def to_json(self) -> str:
        """Write the recipe as JSON, its fields in the order of their names here."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Recipe:
        """Read what `to_json` wrote; fields that are left out take their defaults.

        Raises
        ------
        PruningError
            The text is not JSON, a field is unknown (the nearest is named) or its value not valid.
        """
        try:
            tree = msgspec.json.decode(text, type=dict[str, Any])
            _check_fields(cls, tree)
            for step in tree.get("then") or ():
                _check_fields(Step, step)
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as cause:
            message = f"the recipe cannot be read: {cause}"
            raise errors.PruningError(message) from cause


def check_named(step: Step, known: Sequence[str]) -> None:
    """Refuse amounts of what is not there, such as a block whose name was mistyped.

    Raises
    ------
    PruningError
        A name in `amounts` is not among those known; the nearest is named.
    """
    for name in step.amounts:
        _check_name("amounts", name, tuple(known))


def _check_fields(kind: type[Step], tree: Mapping[str, Any]) -> None:
    for name in tree:
        _check_name("field", name, tuple(field.name for field in dataclasses.fields(kind)))


def _check_name(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        message = f"recipe: {field} {value!r} is not known; {hint}known: {', '.join(known)}"
        raise errors.PruningError(message)


def _check_range(field: str, value: float, *, holds: bool, allowed: str) -> None:
    if not holds:
        message = f"recipe: {field} is {value}, allowed: {allowed}"
        raise errors.PruningError(message)
