"""What the pruning bench trains: networks, rates, recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pruning_runs

from retrain.pruning import criteria, recipe

KEPT = Path(__file__).resolve().parents[1] / "build" / "bench-pruning"
CONTROL = "random"
RATES = {
    # Channels of the stages: 20/40/80, 16/32/64, 12/24/48, 8/16/32, 4/8/16.
    "small": (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6),
    # 48/96/192, 32/64/128, 24/48/96, 16/32/64, 8/16/32.
    "wide": (1 / 4, 1 / 2, 5 / 8, 3 / 4, 7 / 8),
}
ALIGN = {"small": 4, "wide": 8}
PRECISION = {"small": "fp32", "wide": "bf16"}
LEFT_OUT: dict[str, Any] = {
    "level": "layer",
    "criterion": "ablation",
    "amount": 0.0,
    "amounts": {"blocks.1": 0.9, "blocks.3": 0.9, "blocks.5": 0.9},
}
"""The second block of every stage."""
HALF = {"stem.0": 1 / 2, "blocks.0.first": 1 / 2, "blocks.2.shortcut.0": 1 / 2}
CHAINED = {
    # Stages of 32, 64 and 128 channels; 64 inside the last block.
    "wide": {
        **HALF,
        "blocks.2.first": 1 / 2,
        "blocks.4.shortcut.0": 1 / 2,
        "blocks.4.first": 3 / 4,
    },
    # Stages of 16, 48 and 96 channels.
    "small": {"stem.0": 1 / 3, "blocks.0.first": 1 / 3},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of it is done.

    Attributes
    ----------
    training
        What the trainings follow from.
    nets, criteria, rates
        What is combined.
    epochs
        Passes of the chained recipe's recovery.
    rounds
        Of the race.
    cycles
        Prunings in one process.
    rows
        Rows of the training split that are used; `None` for all.
    useful_drop
        Rates at which random choice loses more are shown, but count as useless.
    """

    training: pruning_runs.Plan
    nets: tuple[str, ...]
    criteria: tuple[str, ...]
    rates: dict[str, tuple[float, ...]]
    epochs: int
    rounds: int
    cycles: int
    rows: int | None = None
    useful_drop: float = 0.15


def ranking() -> tuple[str, ...]:
    """Return the criteria that rank channels."""
    found = {name: criteria.load(name) for name in criteria.names()}
    return tuple(n for n, c in found.items() if c.score is not None and "neuron" in c.levels)


def whole() -> Plan:
    """Return the bench that is published."""
    return Plan(
        training=pruning_runs.Plan(folder=KEPT, parent_epochs=5, half=6_875, seeds=(1, 2, 3)),
        nets=("small", "wide"),
        criteria=ranking(),
        rates=RATES,
        epochs=3,
        rounds=60,
        cycles=20,
    )


def quick(folder: Path) -> Plan:
    """Return a small run of the same code: its figures mean nothing."""
    return Plan(
        training=pruning_runs.Plan(folder=folder, parent_epochs=1, half=128, seeds=(1,)),
        nets=("small",),
        criteria=("l1", "magnitude", CONTROL),
        rates={"small": (1 / 2,)},
        epochs=1,
        rounds=2,
        cycles=2,
        rows=256,
        # What such trainings lose follows from the machine; no rate may drop out by chance.
        useful_drop=1.0,
    )


def grid_recipe(net: str, criterion: str, rate: float) -> recipe.Recipe:
    """Return the recipe of one cell of the table: the same share of every group."""
    return recipe.Recipe(
        criterion=criterion,
        amount=rate,
        align=ALIGN[net],
        finetune_epochs=2,
        learning_rate=2e-3,
        precision=PRECISION[net],
    )


def chained_recipe(net: str, epochs: int) -> recipe.Recipe:
    """Return the chain of levels that is held against the targets."""
    channels = recipe.Step(criterion="taylor", amount=0.0, amounts=CHAINED[net], align=16)
    return recipe.Recipe(
        **LEFT_OUT,
        then=(channels,),
        finetune_epochs=epochs,
        learning_rate=3e-3,
        precision="bf16",
    )


def cell(criterion: str, rate: float) -> str:
    """Return the name of a cell's training."""
    return f"{criterion}-{rate:.3f}"
