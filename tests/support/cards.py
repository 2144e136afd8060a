"""Cards of versions, as a candidate's flow writes them; figures are made up but consistent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from coppice import artifact, registry, settings
from coppice.registry.base import Registry
from retrain import card, gates, quality
from retrain.evaluate import evaluation, latency, paired, section
from retrain.pruning import recipe
from tests.support import artifacts

ROBUSTNESS = section.Section(
    name="robustness",
    title="Robustness",
    status="measured",
    sentence="Under attack the candidate loses 4.0 points more than its parent.",
    figures={
        "worst_drop": section.Figure(value=0.04, low=0.01, high=0.07, unit="share", better="lower"),
        "fgsm_score": section.Figure(value=0.61, unit="share", better="higher"),
    },
    tables=(
        section.Table(
            title="Score by attack",
            columns=("attack", "parent", "candidate"),
            rows=(("FGSM 2/255", 0.65, 0.61), ("PGD <2/255>", 0.6, None)),
        ),
    ),
    charts=(
        section.Chart(
            title="Score by budget",
            kind="lines",
            x="budget",
            y="score",
            series={
                "parent": ((0.0, 0.97), (1.0, 0.8), (2.0, 0.65)),
                "candidate": ((0.0, 0.96), (1.0, 0.78), (2.0, 0.61)),
            },
        ),
        section.Chart(
            title="Loss by corruption",
            kind="bars",
            x="",
            y="points",
            series={"candidate": ((0.0, 1.5), (1.0, -0.5))},
            labels=("noise", "blur"),
        ),
    ),
    seconds=3.25,
)
EXEMPLARS = section.Section(
    name="exemplars",
    title="Exemplars",
    status="measured",
    sentence="The two models differ on 12 rows.",
    exemplars=(
        section.Exemplar(caption="8, taken for 3", pixels=((0.0, 0.5), (1.0, 0.25))),
        section.Exemplar(caption="row 7", values={"age": 41, "city": "Ulm"}),
    ),
)
PRIVACY = section.Section(
    name="privacy", title="Privacy", status="off", sentence="Switched off in [inspect]."
)
FAIRNESS = section.Section(
    name="fairness",
    title="Fairness",
    status="not measured",
    sentence="Not measured: install coppice[audit].",
)
SECTIONS = {each.name: each for each in (EXEMPLARS, FAIRNESS, ROBUSTNESS, PRIVACY)}


def comparison(lost: int, gained: int, rows: int) -> paired.Comparison:
    """Build what comes of so many rows lost and gained."""
    low, high = paired.tango(lost, gained, rows, confidence=0.95)
    return paired.Comparison(
        rows=rows,
        drop=(lost - gained) / rows,
        low=low,
        high=high,
        disagreement=(lost + gained) / rows,
        new_errors=lost / rows,
        fixed=gained / rows,
    )


def table(lost: int = 6, gained: int = 2, rows: int = 400) -> evaluation.Table:
    """Build a table: parent and null control know 97% of the rows, the candidate loses some."""
    against = comparison(lost, gained, rows)
    return evaluation.Table(
        rows=rows,
        columns={
            "parent": {"score": 0.97, "log_loss": 0.11},
            "null": {"score": 0.965, "log_loss": 0.12},
            "candidate": {"score": 0.97 - against.drop, "log_loss": 0.14},
        },
        yardstick="parent",
        comparisons={"parent": against},
        slices={"pen=ink": comparison(5, 0, 100), "pen=lead": comparison(1, 2, 300)},
    )


def card_of(judged: evaluation.Evaluation, **fields: Any) -> card.Card:
    """Build a card around an evaluation, its gates judged by the default settings."""
    found = fields.get("sections", SECTIONS)
    results = gates.check_all(judged, found, settings.GateSettings())
    refused = bool(gates.refusals(results))
    whole: dict[str, Any] = {
        "status": "refused" if refused else "accepted",
        "lineage": card.Lineage(
            parent="m:p",
            origin="pruned",
            reason="asked for by hand",
            cause="manual",
            fingerprint="f" * 64,
            data="d" * 64,
            rows={"train": 1000, "holdout": judged.holdout.rows},
            seed=0,
        ),
        "recipe": recipe.Recipe(amount=0.5),
        "libraries": {"coppice": "0.1.0", "torch": "2.13.0"},
        "evaluation": judged,
        "gates": results,
        "quality": quality.Quality(figures={"leaked_share": 0.0}, warnings=("few rows of 8",)),
        "cost": {
            "parent_macs": 400.0,
            "candidate_macs": 100.0,
            "parent_parameters": 90.0,
            "candidate_parameters": 30.0,
        },
        "sections": found,
    }
    return card.Card(**(whole | fields))


def harmless(**fields: Any) -> card.Card:
    """Build the card of a candidate that loses one point and is twice as fast."""
    timed = latency.summarise([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    return card_of(evaluation.Evaluation(holdout=table(), latency=timed), **fields)


def harmful(**fields: Any) -> card.Card:
    """Build the card of a candidate that loses eight points, most of them on one slice."""
    worse = msgspec.structs.replace(
        table(34, 2), slices={"pen=ink": comparison(30, 0, 100), "pen=lead": comparison(4, 2, 300)}
    )
    return card_of(evaluation.Evaluation(holdout=worse), **fields)


def register(shelf: Registry, folder: Path, made: card.Card) -> str:
    """Pack a tiny artifact around a card and return its tag."""
    artifacts.linear_classifier(folder, parent=made.lineage.parent)
    (folder / artifact.CARD).write_bytes(msgspec.json.encode(card.to_tree(made)))
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return shelf.add(folder)


def shelve(tree: settings.Settings, folder: Path, **found: card.Card) -> dict[str, str]:
    """Register cards in a project's own registry, and return their tags by keyword."""
    shelf = registry.open_registry(tree)
    return {name: register(shelf, folder / name, made) for name, made in found.items()}
