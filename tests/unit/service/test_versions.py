"""Versions out of the registry: what is loaded, and what is refused before its first request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coppice import errors, runtime
from service import versions
from tests.support import artifacts


@pytest.mark.parametrize("pack", [artifacts.linear_classifier, artifacts.linear_regressor])
def test_a_model_that_answers_each_row_for_itself_is_taken(
    tmp_path: Path, pack: Callable[..., str]
) -> None:
    pack(tmp_path / "a")
    versions.check_parity(runtime.Runtime(tmp_path / "a"))


def test_a_model_that_fails_on_ordinary_rows_is_refused(tmp_path: Path) -> None:
    artifacts.failing_classifier(tmp_path / "a")
    with pytest.raises(errors.ArtifactError, match="failed"):
        versions.check_parity(runtime.Runtime(tmp_path / "a"))


def test_a_model_that_answers_differently_in_a_batch_is_refused(tmp_path: Path) -> None:
    artifacts.linear_classifier(tmp_path / "a", tail=across_rows())
    with pytest.raises(errors.ArtifactError, match="alone and in a batch"):
        versions.check_parity(runtime.Runtime(tmp_path / "a"))


def across_rows() -> artifacts.Tail:
    """Nodes that add the number of "yes" points of all rows to the answer of each."""
    from onnx import helper

    nodes = (
        helper.make_node("ReduceSum", ["linear", "axis"], ["total"], keepdims=1),
        helper.make_node("Add", ["linear", "total"], ["answer"]),
    )
    return artifacts.Tail(nodes, (("axis", np.array([0], dtype=np.int64)),))
