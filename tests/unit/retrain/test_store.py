from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coppice import errors
from retrain import store
from retrain.pruning import recipe

KEY = {"what": "apple", "size": 3}


class Weight(msgspec.Struct, frozen=True):
    grams: float


@pytest.fixture
def kept(tmp_path: Path) -> store.Store:
    return store.Store(tmp_path / "findings")


def test_a_finding_is_found_again_under_the_same_key_whatever_its_order(kept: store.Store) -> None:
    kept.put(KEY, Weight(150.0))
    assert kept.get({"size": 3, "what": "apple"}, Weight) == Weight(150.0)
    assert kept.get({"what": "apple", "size": 4}, Weight) is None


def test_a_later_finding_takes_the_place_of_an_earlier_one(kept: store.Store) -> None:
    kept.put(KEY, Weight(150.0))
    kept.put(KEY, Weight(160.0))
    assert kept.get(KEY, Weight) == Weight(160.0)


def test_the_file_of_a_finding_shows_its_key_to_a_reader(kept: store.Store) -> None:
    kept.put(KEY, Weight(150.0))
    assert msgspec.json.decode(kept.path(KEY).read_bytes())["key"] == KEY


def test_nothing_is_left_beside_a_finding(kept: store.Store) -> None:
    kept.put(KEY, Weight(150.0))
    assert list(kept.path(KEY).parent.iterdir()) == [kept.path(KEY)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told[: len(told) // 2],
        lambda told: told.replace(b"150.0", b"950.0"),
        lambda told: told[:0],
        lambda told: b"[]" + told[:0],
        lambda told: b"\xff" * len(told),
    ],
    ids=["cut off", "another number", "empty", "another shape", "no text"],
)
def test_a_damaged_finding_is_none_and_can_be_made_again(kept: store.Store, damage: object) -> None:
    assert callable(damage)
    kept.put(KEY, Weight(150.0))
    kept.path(KEY).write_bytes(damage(kept.path(KEY).read_bytes()))
    assert kept.get(KEY, Weight) is None
    kept.put(KEY, Weight(151.0))
    assert kept.get(KEY, Weight) == Weight(151.0)


def test_a_finding_of_another_shape_is_none(kept: store.Store) -> None:
    class Length(msgspec.Struct):
        metres: float

    kept.put(KEY, Weight(150.0))
    assert kept.get(KEY, Length) is None


def test_a_finding_under_the_name_of_another_key_is_none(kept: store.Store) -> None:
    other = {"what": "pear"}
    kept.put(KEY, Weight(150.0))
    kept.path(other).parent.mkdir(parents=True, exist_ok=True)
    kept.path(other).write_bytes(kept.path(KEY).read_bytes())
    assert kept.get(other, Weight) is None


def test_a_finding_is_found_again_with_its_arrays(kept: store.Store) -> None:
    kept.put(KEY, Weight(150.0), {"scores": np.array([0.0, 1.0, 0.5])})
    found = store.Store(kept.folder)
    assert found.get(KEY, Weight) == Weight(150.0)
    assert found.arrays(KEY)["scores"].tolist() == [0.0, 1.0, 0.5]


def test_arrays_are_there_before_the_finding_that_tells_of_them(
    kept: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace = store.files.replace

    def noted(path: Path, content: bytes) -> None:
        written.append(path.suffix)
        replace(path, content)

    monkeypatch.setattr(store.files, "replace", noted)
    kept.put(KEY, Weight(150.0), {"scores": np.zeros(2)})
    assert written == [".safetensors", ".json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.EnvironmentProblem, match="what was measured cannot be kept in"):
        store.Store(tmp_path / "file").put(KEY, Weight(150.0))


def test_a_key_may_hold_a_recipe_and_follows_from_every_part_of_it(kept: store.Store) -> None:
    kept.put({"recipe": recipe.Recipe(), "seed": 1}, Weight(150.0))
    assert kept.get({"recipe": recipe.Recipe(), "seed": 1}, Weight) == Weight(150.0)
    assert kept.get({"recipe": recipe.Recipe(amount=0.4), "seed": 1}, Weight) is None
    assert kept.get({"recipe": recipe.Recipe(), "seed": 2}, Weight) is None


def test_a_turn_that_a_killed_process_held_is_free_again(kept: store.Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from retrain import store\n"
        "with store.Store(Path(sys.argv[1])).turn():\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(kept.folder)], stdout=subprocess.PIPE, env=environment
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    with kept.turn():
        assert (kept.folder / "turn.lock").exists()
