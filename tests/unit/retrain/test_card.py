from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from coppice import artifact, errors
from retrain import card, quality
from retrain.evaluate import evaluation, latency, paired
from retrain.pruning import recipe
from tests.support import cards

COMPARED = paired.compare(
    paired.Pairs(outcomes=np.array([1.0, 0.0]), divergence=np.array([1.0, 0.0])),
    confidence=0.95,
)


def table(candidate: float, parent: float) -> evaluation.Table:
    return evaluation.Table(
        rows=2,
        columns={"parent": {"score": parent}, "candidate": {"score": candidate}},
        yardstick="parent",
        comparisons={"parent": COMPARED},
    )


def built(**fields: object) -> card.Card:
    whole: dict[str, object] = {
        "status": "accepted",
        "lineage": card.Lineage(
            parent="m:p",
            origin="pruned",
            reason="because",
            cause="manual",
            fingerprint="f",
            data="d",
            rows={"train": 2},
            seed=0,
        ),
        "recipe": recipe.Recipe(amount=0.25),
        "libraries": card.libraries(),
        "evaluation": evaluation.Evaluation(holdout=table(0.5, 1.0)),
        "quality": quality.Quality(figures={}),
    } | fields
    return card.Card(**whole)  # type: ignore[arg-type]


def test_a_card_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = built(
        evaluation=evaluation.Evaluation(
            holdout=table(0.5, 1.0),
            production=table(0.6, 0.7),
            latency=latency.summarise([2.0], [1.0]),
        )
    )
    (tmp_path / artifact.CARD).write_bytes(msgspec.json.encode(card.to_tree(written)))
    assert card.read(tmp_path) == written


def test_the_recipe_stands_at_the_top_where_others_look_for_it() -> None:
    tree = card.to_tree(built())
    assert tree["recipe"]["amount"] == 0.25
    assert list(tree) == list(card.Card.__struct_fields__)


def test_the_same_card_gives_the_same_bytes() -> None:
    first, second = (msgspec.json.encode(card.to_tree(built())) for _ in range(2))
    assert first == second


def test_a_folder_without_a_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match=r"has no card\.json"):
        card.read(tmp_path)


def test_a_card_that_something_else_wrote_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / artifact.CARD).write_text('{"note": "by hand"}')
    with pytest.raises(errors.ArtifactError, match="is not a card of this version"):
        card.read(tmp_path)


def test_the_event_carries_the_figures_that_people_ask_for() -> None:
    made = built(
        evaluation=evaluation.Evaluation(
            holdout=table(0.5, 1.0),
            production=table(0.6, 0.7),
            latency=latency.summarise([2.0], [1.0]),
        ),
        cost={"parent_macs": 400.0, "candidate_macs": 100.0},
    )
    assert card.figures(made) == {
        "parent_score": 1.0,
        "candidate_score": 0.5,
        "drop_vs_parent": 0.5,
        "latency_gain": 2.0,
        "macs_ratio": 4.0,
        "production_parent_score": 0.7,
        "production_candidate_score": 0.6,
    }


def test_every_library_that_shapes_a_model_is_named() -> None:
    assert {"torch", "onnxruntime", "torch-pruning", "numpy"} <= set(card.libraries())


def test_sections_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = cards.harmless()
    (tmp_path / artifact.CARD).write_bytes(msgspec.json.encode(card.to_tree(written)))
    assert card.read(tmp_path) == written
    assert card.read(tmp_path).sections["robustness"].seconds == 3.25


def test_a_card_of_the_first_schema_is_read_and_has_no_sections(tmp_path: Path) -> None:
    tree = card.to_tree(built()) | {"schema": 1}
    del tree["sections"]
    (tmp_path / artifact.CARD).write_bytes(msgspec.json.encode(tree))
    found = card.read(tmp_path)
    assert (found.schema, found.sections) == (1, {})


def test_a_card_of_a_newer_version_is_not_guessed_at(tmp_path: Path) -> None:
    tree = card.to_tree(built()) | {"schema": 3}
    (tmp_path / artifact.CARD).write_bytes(msgspec.json.encode(tree))
    with pytest.raises(errors.ArtifactError, match=r"newer Coppice \(schema 3\)"):
        card.read(tmp_path)


def test_the_published_schema_names_every_field() -> None:
    published = card.json_schema()
    assert published["$schema"].startswith("https://json-schema.org/")
    assert set(published["$defs"]["Card"]["properties"]) == set(card.Card.__struct_fields__)
