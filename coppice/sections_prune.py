"""What is removed from a model, and how it recovers: `[prune]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coppice.sections import Section


class StepSettings(Section):
    """What one level of the recipe removes."""

    level: Literal["neuron", "layer", "connection"] = "neuron"
    """What is removed: units, filters, heads and hidden units; whole blocks; or single weights."""
    criterion: str = "magnitude"
    """How what can be removed is ranked, such as `magnitude` or `taylor`; `random` is the
    control. A recipe that names an unknown one lists them all."""
    amount: float = Field(default=0.5, gt=0, lt=1)
    """Share that is removed: of the channels of each coupled group, of the blocks, or of the
    weights."""
    amounts: dict[str, float] = {}  # noqa: RUF012 - pydantic gives each its own copy
    """Shares of single groups or tensors, by name, in place of `amount`."""
    scope: Literal["local", "global", "criterion"] = "local"
    """Over what `amount` holds: each group, all together, or as the criterion allots it."""
    align: int = Field(default=8, ge=1)
    """Channel counts that remain are multiples of this (or the whole group where it is smaller):
    on ONNX Runtime 31 channels run at half the speed of 32."""
    inside: Literal["heads", "dims"] = "heads"
    """What goes inside attention: whole heads, or channels of every head."""
    pattern: str = "unstructured"
    """For single weights: `unstructured`, or `N:M` to keep N of every M neighbours."""


class PruneSettings(StepSettings):
    """The recipe used when none is named on the command line, and how to recover from the cut."""

    then: tuple[StepSettings, ...] = ()
    """What is removed after that, each step on what the one before has left."""
    schedule: Literal["one-shot", "iterative", "gradual"] = "one-shot"
    """All at once, in equal parts, or most at first and ever less."""
    rounds: int = Field(default=3, ge=1)
    """Cuts of a schedule other than `one-shot`."""
    round_epochs: int = Field(default=1, ge=0)
    """Passes of fine-tuning between two cuts."""
    sparse_epochs: int = Field(default=1, ge=0)
    """Passes of sparse training before the first cut, for criteria that rank what it has shrunk."""
    sparse_strength: float = Field(default=1e-4, gt=0)
    """Weight of the penalty in that training's loss."""
    batch_norm_rows: int = Field(default=2048, ge=1)
    """Training rows used to re-estimate BatchNorm statistics right after the cut."""
    finetune_epochs: int = Field(default=10, ge=0)
    """Passes of distilled fine-tuning; the null control trains as long, unpruned."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the fine-tuning."""
    distill_weight: float = Field(default=0.7, ge=0, le=1)
    """Share of the loss that is distance to the dense parent's answers, the rest to the labels."""
    temperature: float = Field(default=4.0, gt=0)
    """Softmax temperature of the distillation."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the products in that training; `bf16` is faster on processors with units for it."""
