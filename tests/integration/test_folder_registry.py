"""The registry in a shared folder where several machines write, or one of them dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coppice import artifact, errors, settings
from coppice.registry import folder as shared
from coppice.registry import open_registry
from coppice.registry.folder import FolderRegistry
from tests.support import artifacts

POINTER = Path(__file__).parents[1] / "support" / "pointer.py"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def tags(place: Path, tmp_path: Path) -> list[str]:
    registry = FolderRegistry(place)
    artifacts.linear_classifier(tmp_path / "a", accepted=0.8)
    artifacts.linear_classifier(tmp_path / "b", accepted=0.9)
    return [registry.add(tmp_path / "a"), registry.add(tmp_path / "b")]


def test_aliases_moved_by_two_processes_at_once_are_all_kept(place: Path, tags: list[str]) -> None:
    aliases = ("champion", "candidate")
    movers = [
        subprocess.Popen([sys.executable, str(POINTER), str(place), alias, "20", *tags, "--folder"])
        for alias in aliases
    ]

    assert [mover.wait() for mover in movers] == [0, 0]
    # 20 moves over two tags end on the second; a lost update would drop the other's alias.
    assert FolderRegistry(place).aliases("tiny") == dict.fromkeys(aliases, tags[1])


def test_a_move_between_reading_and_writing_is_not_lost(
    place: Path, tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, other = FolderRegistry(place), FolderRegistry(place)
    between = iter([lambda: other.point("tiny", {"previous": tags[0]})])
    publish = registry._publish

    def slowly(name: str, number: int, content: bytes, move: str) -> bool:
        next(between, lambda: None)()
        return publish(name, number, content, move)

    monkeypatch.setattr(registry, "_publish", slowly)
    registry.point("tiny", {"champion": tags[1]})

    assert registry.aliases("tiny") == {"previous": tags[0], "champion": tags[1]}


def test_a_writer_so_slow_that_its_start_is_forgotten_begins_anew(
    place: Path, tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "KEPT", 2)
    registry = FolderRegistry(place)
    for tag in tags * 3:
        registry.point("tiny", {"champion": tag})

    # Six moves were made and the last two are kept, so move 3 was made and forgotten long ago.
    assert not registry._publish("tiny", 3, b'{"aliases": {}}', "late")
    assert sorted(path.name for path in (place / "aliases" / "tiny").iterdir()) == ["5", "6"]
    assert registry.aliases("tiny") == {"champion": tags[1]}


def test_a_drive_that_denies_what_it_did_is_not_believed(
    place: Path, tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def lost(self: Path, target: Path) -> Path:
        rename(self, target)
        raise FileNotFoundError(self)

    registry = FolderRegistry(place)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lost)
        registry.point("tiny", {"champion": tags[0]})

    assert [path.name for path in (place / "aliases" / "tiny").iterdir()] == ["1"]
    assert registry.aliases("tiny") == {"champion": tags[0]}


def test_others_that_never_let_go_are_said(
    place: Path, tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = FolderRegistry(place)
    monkeypatch.setattr(shared, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(registry, "_publish", lambda *_: False)

    with pytest.raises(errors.RegistryProblem, match="moved by others again and again"):
        registry.point("tiny", {"champion": tags[0]})


def test_an_altered_version_is_never_handed_out(place: Path, tags: list[str]) -> None:
    registry = FolderRegistry(place)
    (registry.path(tags[0]) / artifact.MODEL).write_bytes(b"other bytes")

    with pytest.raises(errors.ArtifactCorrupt, match=r"model\.onnx was altered"):
        registry.path(tags[0])


def test_whoever_only_reads_writes_nothing(place: Path, tags: list[str], tmp_path: Path) -> None:
    FolderRegistry(place).point("tiny", {"champion": tags[0]})
    shutil.rmtree(place / "staging")
    before = sorted(os.walk(place))

    registry = FolderRegistry(place)
    registry.path("tiny:champion")
    registry.tags("tiny")

    assert sorted(os.walk(place)) == before


def test_the_settings_open_it(tmp_path: Path, tags: list[str]) -> None:
    tables = {"project": {"name": "tiny"}, "store": {"registry": "folder", "folder": "shared"}}

    found = open_registry(settings.from_tree(tables, root=tmp_path)).tags("tiny")
    assert sorted(found) == sorted(tags)


@pytest.mark.parametrize(("kind", "field"), [("folder", "folder"), ("s3", "bucket")])
def test_a_place_that_is_not_named_is_asked_for(tmp_path: Path, kind: str, field: str) -> None:
    tables = {"project": {"name": "tiny"}, "store": {"registry": kind}}

    with pytest.raises(errors.SettingsError, match=rf"store\.{field} is empty"):
        settings.from_tree(tables, root=tmp_path)
