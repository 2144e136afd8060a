"""What both doors of the protocol tell; that HTTP and gRPC do is tried in tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import coppice
from coppice import artifact, errors
from service import compose, engine, openapi, replies
from tests.support import artifacts, serving

T = TypeVar("T")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serving.Project:
    """The champion has all traffic; the candidate a tenth."""
    project = serving.project(tmp_path_factory.mktemp("replies"))
    project.route(candidate=project.candidate, weight=0.1)
    return project


def asked(made: serving.Project, question: Callable[[compose.Plane], T]) -> T:
    """Ask a plane of this process that is ready."""

    async def ask() -> T:
        async with serving.plane(made) as opened:
            return question(opened)

    return asyncio.run(ask())


def id_of(tag: str) -> str:
    return tag.partition(":")[2]


def manifest(*classes: str) -> artifact.Manifest:
    return artifact.Manifest(
        name="tiny",
        task="multiclass" if classes else "regression",
        classes=classes,
        inputs=(artifact.TensorSpec("x", "bfloat16", (2, 3)),),
        accepted=1.0,
        accepted_rows=1,
        created_at=0.0,
    )


def test_the_server_says_its_version_and_what_it_can() -> None:
    assert replies.server() == {
        "name": "coppice",
        "version": coppice.__version__,
        "extensions": ["binary_tensor_data"],
    }


def test_the_model_of_the_project_is_served_and_no_other(made: serving.Project) -> None:
    asked(made, lambda plane: replies.check_model(plane, "tiny"))
    with pytest.raises(errors.UnknownModel, match=r"model 'other' .* serves 'tiny'"):
        asked(made, lambda plane: replies.check_model(plane, "other"))


def test_a_name_of_any_length_is_cut_in_the_refusal(made: serving.Project) -> None:
    with pytest.raises(errors.UnknownModel) as refusal:
        asked(made, lambda plane: replies.check_model(plane, "a" * 10_000))
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("form", [str, id_of])
def test_each_loaded_version_is_ready_by_its_tag_and_by_its_id(
    made: serving.Project, form: Callable[[str], str]
) -> None:
    def check(plane: compose.Plane) -> None:
        replies.check_ready(plane)
        replies.check_ready(plane, form(made.champion))
        replies.check_ready(plane, form(made.candidate))

    asked(made, check)


def test_a_version_without_traffic_is_not_served(made: serving.Project) -> None:
    with pytest.raises(errors.UnknownVersion, match="is not served here"):
        asked(made, lambda plane: replies.check_ready(plane, made.parent))


def test_a_version_that_could_not_be_loaded_is_not_ready(tmp_path: Path) -> None:
    made = serving.project(tmp_path)
    made.route(candidate="tiny:000000000000", weight=0.1)
    with pytest.raises(errors.NotReady, match="could not be loaded"):
        asked(made, lambda plane: replies.check_ready(plane, "tiny:000000000000"))


def test_a_log_that_is_not_written_makes_the_model_not_ready(made: serving.Project) -> None:
    async def ask() -> None:
        async with serving.plane(made) as opened:
            closed = opened
        replies.check_ready(closed)

    with pytest.raises(errors.NotReady, match="the event log is not written"):
        asyncio.run(ask())


def test_the_model_is_described_by_its_champion(made: serving.Project) -> None:
    found = asked(made, replies.model)
    assert found["name"] == "tiny"
    assert found["versions"] == [id_of(made.champion), id_of(made.candidate)]
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert found["outputs"] == [
        {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "label", "datatype": "INT64", "shape": [-1]},
    ]


def test_a_version_that_is_not_served_is_not_described(made: serving.Project) -> None:
    with pytest.raises(errors.UnknownVersion):
        asked(made, lambda plane: replies.model(plane, made.parent))


def test_the_document_has_examples_for_the_model_that_is_served(made: serving.Project) -> None:
    def both(plane: compose.Plane) -> tuple[dict[str, Any], dict[str, Any]]:
        return replies.document(plane), openapi.document("tiny", replies.model(plane))

    found, described = asked(made, both)
    assert found == described
    assert found != openapi.document("tiny", None)


def test_a_regression_has_scores_alone() -> None:
    assert replies._outputs(manifest()) == [{"name": "scores", "datatype": "FP32", "shape": [-1]}]


def test_classes_give_scores_their_width() -> None:
    scores, label = replies._outputs(manifest("a", "b", "c"))
    assert (scores["shape"], label["name"]) == ([-1, 3], "label")


def test_an_input_is_described_in_the_words_of_the_protocol() -> None:
    (spec,) = manifest().inputs
    assert replies._described(spec) == {"name": "x", "datatype": "BF16", "shape": [-1, 2, 3]}


@pytest.mark.parametrize("label", [None, np.array([1, 0])])
def test_an_answer_names_the_request_and_who_answered(made: serving.Project, label: Any) -> None:
    def served(plane: compose.Plane) -> engine.Served:
        champion = plane.switchboard.in_force().champion
        scores = artifacts.rows(2, 2)
        return engine.Served("request-1", champion, "stable", scores, label)

    found = replies.answer(asked(made, served))
    assert (found.id, found.model) == ("request-1", "tiny")
    assert found.version == id_of(made.champion)
    assert found.outputs["scores"].shape == (2, 2)
    assert ("label" in found.outputs) == (label is not None)
