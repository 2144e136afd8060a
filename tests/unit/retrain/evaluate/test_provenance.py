from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from coppice import runtime, testing
from retrain import card, dataset, quality
from retrain.evaluate import provenance, section
from tests.support import artifacts, cards, digits, planted

DATA = digits.load_data()
TOLD = dataclasses.replace(
    DATA,
    source="UCI Optical Recognition of Handwritten Digits",
    licence="CC-BY-4.0",
    collected_from=dt.date(1998, 7, 1),
    collected_to=dt.date(1998, 7, 31),
)
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC).timestamp()


def facts(found: section.Section, title: str) -> dict[section.Cell, section.Cell]:
    table = next(each for each in found.tables if each.title == title)
    return {row[0]: row[1] for row in table.rows}


def served() -> dataset.Production:
    rows = DATA.holdout
    return dataset.Production(
        older=rows.take(np.arange(10)),
        recent=rows.take(np.arange(10, 30)),
        held_back=rows.take(np.arange(30, 40)),
        skipped={"the request failed": 2},
        sources={"human": 30, "system": 10},
        span=(NOON, NOON + 3 * 86_400),
        versions={"digits:aa": 25, "digits:bb": 15},
    )


def test_what_the_project_tells_is_told() -> None:
    found = provenance.measure(planted.subject(TOLD))
    assert found.sentence == (
        "Made from 500 training rows of UCI Optical Recognition of Handwritten Digits (CC-BY-4.0)."
    )
    assert facts(found, "The project's data")["collected from"] == "1998-07-01"
    assert found.figures["facts_missing"].value == 0


def test_what_the_project_does_not_tell_is_named() -> None:
    found = provenance.measure(planted.subject(DATA))
    assert found.sentence.endswith(
        "Not stated in coppice.project.Data: source, licence, collected_from, collected_to."
    )
    assert facts(found, "The project's data")["licence"] == "not stated"
    assert found.figures["facts_missing"].value == 4


def test_every_split_has_its_rows_and_its_digest() -> None:
    found = provenance.measure(planted.subject(TOLD))
    splits = next(each for each in found.tables if each.title == "Splits")
    assert ("holdout", 300, quality.digest({"holdout": DATA.holdout})[:16]) in splits.rows
    assert found.figures["holdout_rows"].value == 300


def test_production_rows_are_told_with_their_time_and_versions() -> None:
    found = provenance.measure(planted.subject(TOLD, production=served()))
    assert "40 production rows of 2026-03-01 to 2026-03-04" in found.sentence
    told = facts(found, "Production rows")
    assert told["first asked"] == "2026-03-01T12:00:00+00:00"
    assert (told["answered by digits:aa"], told["labels from human"]) == (25, 30)
    assert told["left out: the request failed"] == 2
    assert found.figures["production_days"].value == 3.0


@pytest.mark.parametrize(
    ("seconds", "when"), [(0.0, "of 2026-03-01 went"), (86_400.0, "2026-03-01 to 2026-03-02 went")]
)
def test_one_day_is_told_as_one(seconds: float, when: str) -> None:
    production = dataclasses.replace(served(), span=(NOON, NOON + seconds))
    assert when in provenance.measure(planted.subject(TOLD, production=production)).sentence


def test_production_of_an_unknown_time_is_told_without_one() -> None:
    production = dataclasses.replace(served(), span=None)
    found = provenance.measure(planted.subject(TOLD, production=production))
    assert "40 production rows went into it or judged it." in found.sentence
    assert "production_days" not in found.figures


def test_no_production_rows_are_no_part_of_it() -> None:
    nothing = DATA.holdout.take(np.arange(0))
    production = dataset.Production(older=nothing, recent=nothing, held_back=nothing)
    found = provenance.measure(planted.subject(TOLD, production=production))
    assert "production" not in found.sentence


def test_the_lineage_of_the_parent_comes_from_its_card(tmp_path: Path) -> None:
    registry = testing.MemoryRegistry(tmp_path / "registry")
    tag = cards.register(registry, tmp_path / "made", cards.harmless())
    graph = registry.path(tag) / "model.onnx"
    lineage = card.read(registry.path(tag)).lineage
    found = provenance.measure(planted.subject(TOLD, graphs={"parent": runtime.Packed(graph)}))
    told = facts(found, "The dense parent")
    assert (told["version"], told["origin"]) == (tag, lineage.origin)
    assert told["fingerprint"] == lineage.fingerprint[:16]


def test_a_parent_without_a_card_is_told(tmp_path: Path) -> None:
    artifacts.linear_classifier(tmp_path, name="digits")
    (tmp_path / "card.json").unlink(missing_ok=True)
    graph = runtime.Packed(tmp_path / "model.onnx")
    found = provenance.measure(planted.subject(TOLD, graphs={"parent": graph}))
    assert "cannot be read" in str(facts(found, "The dense parent")["lineage"])


def test_without_a_parents_graph_its_lineage_is_not_known() -> None:
    found = provenance.measure(planted.subject(TOLD))
    assert facts(found, "The dense parent") == {"lineage": "not known"}
