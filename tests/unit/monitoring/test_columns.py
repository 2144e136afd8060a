from __future__ import annotations

import pytest

from coppice import artifact, features
from monitoring import columns, drift


def look(**ratios):
    named = {name.replace("__", "."): value for name, value in ratios.items()}
    alarmed = any(value >= 1.0 for value in named.values())
    return drift.DriftLook(400, {}, named, {}, alarmed=alarmed, reason="")


@pytest.mark.parametrize(
    ("classes", "components", "expected"),
    [(("no", "yes"), 1, ["answers"] * 2 + ["embedding", "inputs"]), ((), 0, ["answers", "inputs"])],
)
def test_every_monitoring_column_has_a_kind(classes, components, expected):
    specs = (artifact.TensorSpec("age", "float32", ()),)
    names = features.feature_names(specs, classes, components)
    assert [columns.kind_of(name) for name in names] == expected


def test_the_confidence_of_many_classes_is_an_answer():
    many = tuple(str(number) for number in range(40))
    names = features.feature_names((artifact.TensorSpec("x", "float32", (2,)),), many, 0)
    assert names[15] == "confidence"
    assert columns.kind_of("confidence") == "answers"


def test_an_input_called_score_is_an_input():
    assert columns.kind_of("input.score") == "inputs"


def test_drift_of_answers_embedding_and_inputs_is_told_apart():
    seen = look(score__a=0.3, score__b=1.2, embedding__pca0=0.5, input__x=2.0, input__y=4.0)
    assert columns.by_kind(seen) == {
        "answers": columns.KindLook(2, 1.2, ("score.b",)),
        "embedding": columns.KindLook(1, 0.5, ()),
        "inputs": columns.KindLook(2, 4.0, ("input.y", "input.x")),
    }


def test_a_kind_that_could_not_be_compared_is_left_out():
    assert set(columns.by_kind(look(input__x=0.1))) == {"inputs"}
    assert columns.by_kind(look()) == {}
