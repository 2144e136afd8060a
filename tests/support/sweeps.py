"""Sweeps with made-up but consistent figures, and a real tiny project to sweep."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from retrain.evaluate import latency
from retrain.pruning import recipe
from retrain.report import prunings
from retrain.sweep import record
from tests.support import cards

AMOUNTS = (0.5, 0.75)
SEEDS = (3, 4)
DENSE = record.Network(macs=1000, parameters=400, zipped_bytes=1200)
GAINS = {0.5: 1.5, 0.75: 2.0}
"""Times as fast with one row; with a batch it is twice that, against torch ten times."""
REFUSAL = "this network has no BatchNorm | use magnitude"
PROJECT = """
[project]
name = "tiny"
module = "tests.support.digits"
seed = 5
[train]
epochs = 2
[prune]
finetune_epochs = 1
"""


def project(folder: Path) -> Path:
    """Write the settings of a project that trains in a second, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "coppice.toml").write_text(PROJECT, encoding="utf-8")
    return folder


def raced(gain: float) -> latency.Latency:
    """Build the race of a model that is so many times as fast as one that takes a millisecond."""
    return latency.Latency(
        parent_seconds=1e-3,
        candidate_seconds=1e-3 / gain,
        gain=gain,
        low=gain - 0.1,
        high=gain + 0.2,
    )


def measured(amount: float, score: float, *, epochs: int = 1) -> record.Measured:
    """Build what was measured of a model that keeps the share that the amount leaves."""
    gain, left = GAINS[amount], 1.0 - amount
    return record.Measured(
        score=score,
        against_parent=cards.comparison(5, 1, 100),
        against_null=cards.comparison(4, 1, 100),
        network=record.Network(
            macs=round(1000 * left**2), parameters=round(400 * left), zipped_bytes=300
        ),
        graph=record.Graph(
            graph_bytes=round(2000 * left),
            speeds=(
                record.Speed(rows=1, same=raced(gain), eager=raced(10 * gain)),
                record.Speed(rows=record.BATCH, same=raced(2 * gain), eager=raced(20 * gain)),
            ),
        ),
        cut=prunings.Cut(
            groups=(
                prunings.Width("stem", 48, round(48 * left)),
                prunings.Width("head.fc", 64, 64),
            )
        ),
        epochs=epochs,
        seconds=2.0,
    )


def outcome(
    criterion: str, amount: float, seed: int, score: float | None, *, epochs: int = 1
) -> record.Outcome:
    """Build one outcome; without a score it was refused."""
    combination = record.Combination(criterion=criterion, amount=amount, seed=seed)
    if score is None:
        return record.Outcome(combination=combination, refused=REFUSAL)
    return record.Outcome(combination=combination, measured=measured(amount, score, epochs=epochs))


def sweep(outcomes: Iterable[record.Outcome], **fields: Any) -> record.Sweep:
    """Build a sweep of these outcomes."""
    found = tuple(outcomes)
    plain: dict[str, Any] = {
        "name": "tiny",
        "task": "multiclass",
        "base": recipe.Recipe(),
        "criteria": tuple(dict.fromkeys(each.combination.criterion for each in found)),
        "amounts": AMOUNTS,
        "seeds": SEEDS,
        "scored": "validation",
        "rows": 100,
        "confidence": 0.95,
        "fingerprint": "f",
        "libraries": {"coppice": "0.1.0"},
        "score": 0.97,
        "dense": DENSE,
        "dense_graph": record.Graph(graph_bytes=2000),
        "controls": (),
        "outcomes": found,
    }
    return record.Sweep(**plain | fields)


def slower() -> record.Sweep:
    """Build the usual sweep on a machine where whatever is pruned takes twice as long as before."""
    found = usual()
    speeds = tuple(
        record.Speed(rows=rows, same=raced(0.5), eager=raced(0.5)) for rows in (1, record.BATCH)
    )
    outcomes = tuple(
        msgspec.structs.replace(
            each,
            measured=each.measured
            and msgspec.structs.replace(
                each.measured, graph=msgspec.structs.replace(each.measured.graph, speeds=speeds)
            ),
        )
        for each in found.outcomes
    )
    return msgspec.structs.replace(found, outcomes=outcomes)


def usual(**fields: Any) -> record.Sweep:
    """Build random, taylor (a point better, surely) and a criterion that was refused."""
    scores = {"random": {0.5: 0.94, 0.75: 0.90}, "taylor": {0.5: 0.96, 0.75: 0.91}}
    found = [
        outcome(criterion, amount, seed, score + 0.01 * (seed - SEEDS[0]))
        for seed in SEEDS
        for criterion, by_amount in scores.items()
        for amount, score in by_amount.items()
    ]
    refused = [outcome("bn-scale", amount, seed, None) for seed in SEEDS for amount in AMOUNTS]
    edges = (
        record.Edge(criterion="taylor", seeds=2, value=0.015, low=0.005, high=0.025),
        record.Edge(criterion="taylor", amount=0.5, seeds=2, value=0.02, low=0.01, high=0.03),
        record.Edge(criterion="taylor", amount=0.75, seeds=2, value=0.01, low=-0.02, high=0.04),
    )
    return sweep([*found, *refused], **{"edges": edges} | fields)
