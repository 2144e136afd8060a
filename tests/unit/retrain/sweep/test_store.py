from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coppice import errors
from retrain.pruning import recipe
from retrain.sweep import record, store
from tests.support import sweeps

OUTCOME = sweeps.outcome("taylor", 0.5, 3, 0.9)


def test_a_part_is_found_again_with_its_arrays(tmp_path: Path) -> None:
    store.Store(tmp_path / "new").put("a", OUTCOME, {"scores": np.array([0.0, 1.0, 0.5])})
    found = store.Store(tmp_path / "new")
    assert found.get("a", record.Outcome) == OUTCOME
    assert found.arrays("a")["scores"].tolist() == [0.0, 1.0, 0.5]


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert store.Store(tmp_path).get("a", record.Outcome) is None


@pytest.mark.parametrize("text", ["", "{", '{"combination": 7}'])
def test_what_cannot_be_read_is_made_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert store.Store(tmp_path).get("a", record.Outcome) is None


def test_arrays_are_there_before_the_part_that_tells_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace = store.files.replace

    def noted(path: Path, content: bytes) -> None:
        written.append(path.suffix)
        replace(path, content)

    monkeypatch.setattr(store.files, "replace", noted)
    store.Store(tmp_path).put("a", OUTCOME, {"scores": np.zeros(2)})
    assert written == [".safetensors", ".json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.EnvironmentProblem, match="the sweep cannot be kept in"):
        store.Store(tmp_path / "file").put("a", OUTCOME)


def test_a_key_follows_from_every_value() -> None:
    plain = store.key("digest", recipe.Recipe(), 1)
    assert plain == store.key("digest", recipe.Recipe(), 1)
    assert len({plain, store.key("digest", recipe.Recipe(), 2), store.key("other", 1)}) == 3
    assert store.key("digest", recipe.Recipe(amount=0.4), 1) != plain
