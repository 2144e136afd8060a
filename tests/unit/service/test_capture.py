"""What the log keeps of the inputs."""

from __future__ import annotations

import numpy as np
import pytest

from service import capture

ROWS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1, 1])}
TEXTS = {"name": np.array(["ann", "bob"], dtype=object)}


def test_numbers_are_stored_unless_the_settings_say_otherwise() -> None:
    kept = capture.capture(ROWS, {}, secret="s")
    assert kept["x"].array().tolist() == ROWS["x"].tolist()
    assert kept["n"].array().tolist() == [1, 1]


def test_a_dropped_field_leaves_nothing() -> None:
    assert list(capture.capture(ROWS, {"x": "drop"}, secret="s")) == ["n"]


def test_a_hashed_field_keeps_only_whether_rows_are_equal() -> None:
    rows = {"x": np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])}
    kept = capture.capture(rows, {"x": "hash"}, secret="s")["x"]
    assert (kept.dtype, kept.shape) == ("uint8", (3, 16))
    first, second, third = kept.array().tolist()
    assert first == second
    assert first != third


def test_another_secret_gives_another_hash() -> None:
    one, other = (capture.capture(ROWS, {"n": "hash"}, secret=key)["n"] for key in "ab")
    assert one.data != other.data


@pytest.mark.parametrize("policy", [{}, {"name": "store"}, {"name": "drop"}])
def test_texts_are_never_stored_as_they_are(policy: dict[str, str]) -> None:
    assert capture.capture(TEXTS, policy, secret="s") == {}  # type: ignore[arg-type]


def test_texts_may_be_hashed() -> None:
    kept = capture.capture(TEXTS, {"name": "hash"}, secret="s")["name"]
    assert kept.shape == (2, 16)
    assert b"ann" not in kept.data
