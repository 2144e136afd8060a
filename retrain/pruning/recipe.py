"""A recipe: what to prune and how, as one frozen value that a version's card keeps."""

from __future__ import annotations

import dataclasses
import difflib

import msgspec

from coppice import errors, settings

LEVELS = ("neuron",)
"""What can be removed. `neuron` stands for whole units, filters and heads."""
CRITERIA = ("magnitude", "random", "taylor")
"""How coupled channels can be ranked; `retrain.pruning.criteria` holds the functions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to remove, how to rank it, and how to recover from the cut.

    Attributes
    ----------
    level
        What is removed; one of `LEVELS`.
    criterion
        How coupled channels are ranked; one of `CRITERIA`.
    amount
        Share of the channels of each coupled group that is removed, in [0, 1).
    align
        Channel counts that remain are multiples of this; groups smaller than it stay whole.
    batch_norm_rows
        Training rows used to re-estimate BatchNorm statistics right after the cut.
    finetune_epochs
        Passes of fine-tuning after the cut.
    learning_rate
        Peak learning rate of the fine-tuning.
    distill_weight
        Share of the loss that is distance to the dense parent's answers, in [0, 1].
    temperature
        Softmax temperature of the distillation.

    Raises
    ------
    PruningError
        A name is not known, or a number lies outside its range; the message names what is allowed.

    Examples
    --------
    >>> Recipe(criterion="magnitude", amount=0.5).milder(0.5).amount
    0.25
    """

    level: str = "neuron"
    criterion: str = "taylor"
    amount: float = 0.5
    align: int = 8
    batch_norm_rows: int = 2048
    finetune_epochs: int = 10
    learning_rate: float = 1e-3
    distill_weight: float = 0.7
    temperature: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out, before any time is spent on it."""
        _check_name("level", self.level, LEVELS)
        _check_name("criterion", self.criterion, CRITERIA)
        _check_range("amount", self.amount, holds=0 <= self.amount < 1, allowed="[0, 1)")
        _check_range("align", self.align, holds=self.align >= 1, allowed="1, 2, 3, ...")
        rows = self.batch_norm_rows
        _check_range("batch_norm_rows", rows, holds=rows >= 1, allowed="1, 2, 3, ...")
        epochs = self.finetune_epochs
        _check_range("finetune_epochs", epochs, holds=epochs >= 0, allowed="0, 1, 2, ...")
        rate = self.learning_rate
        _check_range("learning_rate", rate, holds=rate > 0, allowed="above 0")
        weight = self.distill_weight
        _check_range("distill_weight", weight, holds=0 <= weight <= 1, allowed="[0, 1]")
        temperature = self.temperature
        _check_range("temperature", temperature, holds=temperature > 0, allowed="above 0")

    @classmethod
    def from_settings(cls, section: settings.PruneSettings) -> Recipe:
        """Take the recipe that `[prune]` in coppice.toml describes.

        >>> Recipe.from_settings(settings.PruneSettings(align=16)).align
        16
        """
        return cls(**section.model_dump())

    def milder(self, factor: float) -> Recipe:
        """Return the same recipe that removes less: `amount * factor`, so 0.5 halves the cut.

        Repeated, the amount falls geometrically towards 0, at which nothing is removed.

        Raises
        ------
        PruningError
            The factor is not in (0, 1), so the result would not be milder.
        """
        _check_range("factor", factor, holds=0 < factor < 1, allowed="(0, 1)")
        return dataclasses.replace(self, amount=self.amount * factor)

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
            tree = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            for name in tree:
                _check_name("field", name, tuple(field.name for field in dataclasses.fields(cls)))
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as cause:
            message = f"the recipe cannot be read: {cause}"
            raise errors.PruningError(message) from cause


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
