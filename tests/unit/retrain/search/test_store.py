from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from retrain.search import store

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


def test_a_turn_that_a_killed_process_held_is_free_again(kept: store.Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from retrain.search import store\n"
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
