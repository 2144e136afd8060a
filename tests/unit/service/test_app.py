"""The typed door's conversions; the rest of it is tested over HTTP."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import registry

from coppice import artifact, errors, settings
from service import app, recorder


def manifest(dtype: str) -> artifact.Manifest:
    return artifact.Manifest(
        name="tiny",
        task="binary",
        classes=("no", "yes"),
        inputs=(artifact.TensorSpec("x", dtype, (2,)),),
        accepted=0.9,
        accepted_rows=10,
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        ("float32", [[1.5, 2.0]]),
        ("float32", [[1, 2]]),
        ("float64", [[1, 2.5]]),
        ("int64", [[1, 2]]),
        ("int8", [[1, -2]]),
        ("uint8", [[0, 255]]),
        ("bool", [[True, False]]),
    ],
)
def test_nested_lists_become_what_the_model_takes(dtype: str, rows: Any) -> None:
    found = app.as_arrays({"x": rows}, manifest(dtype))["x"]
    assert found.dtype.name == dtype
    assert found.tolist() == rows


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        ("float32", [[1.0, 2.0], [3.0]]),
        ("float32", [["1", "2"]]),
        ("float32", [[None, 1.0]]),
        ("float32", [[1.0, {"a": 1}]]),
        ("int64", [[1.5, 2.0]]),
        ("uint8", [[256, 0]]),
        ("int8", [[-129, 0]]),
        ("int64", [["1", "2"]]),
        ("bool", [[1, 0]]),
        ("float32", [[True, False]]),
    ],
)
def test_lists_that_would_lose_something_are_refused(dtype: str, rows: Any) -> None:
    with pytest.raises(errors.RequestError, match="input 'x' does not become"):
        app.as_arrays({"x": rows}, manifest(dtype))


def test_texts_stay_texts() -> None:
    assert app.as_arrays({"x": [["é", ""]]}, manifest("object"))["x"].tolist() == [["é", ""]]


def test_an_input_that_the_model_lacks_is_left_to_the_check() -> None:
    found = app.as_arrays({"y": [[1.0]]}, manifest("float32"))
    np.testing.assert_array_equal(found["y"], [[1.0]])


def test_the_service_is_bentomls_with_our_typed_door() -> None:
    assert list(app.Coppice.apis) == ["predict"]
    assert app.Coppice.name == "coppice"


@pytest.fixture
def thawed() -> Iterator[None]:
    """Whatever a test sets aside is collected again afterwards."""
    yield
    gc.unfreeze()


def test_what_the_start_left_behind_holds_up_no_answer_by_being_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thawed: None
) -> None:
    del thawed
    apart = functools.partial(recorder.Recorder, registry.CollectorRegistry())
    monkeypatch.setattr(recorder, "Recorder", apart)
    (tmp_path / settings.FILE).write_text('[project]\nname = "tiny"\ntask = "multiclass"\n')

    async def steps() -> None:
        await app.Coppice.open(settings.load(tmp_path))
        try:
            # Modules, classes and functions of a server are tens of thousands of objects.
            assert gc.get_freeze_count() > 10_000
            assert len(gc.get_objects()) < 10_000
        finally:
            await app.Coppice.close()

    asyncio.run(steps())
