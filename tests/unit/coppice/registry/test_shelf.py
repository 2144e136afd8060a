from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coppice import artifact, errors
from coppice.registry import shelf
from tests.support import artifacts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifacts.linear_classifier(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_version_lies_below_its_name_and_id(root: Path, staging: Path, folder: Path) -> None:
    tag = shelf.add(root, staging, folder)

    assert shelf.find(root, tag, {}) == root / "tiny" / tag.removeprefix("tiny:")


def test_a_copy_is_finished_before_anyone_sees_it(root: Path, staging: Path, folder: Path) -> None:
    seen: list[list[str]] = []

    def finish(copy: Path, tag: str) -> None:
        seen.append(shelf.tags(root, "tiny"))
        (copy / "model.yaml").write_text(tag)

    tag = shelf.add(root, staging, folder, finish)

    assert seen == [[]]
    assert (shelf.find(root, tag, {}) / "model.yaml").read_text() == tag


def test_a_copy_that_cannot_be_finished_leaves_nothing(
    root: Path, staging: Path, folder: Path
) -> None:
    def finish(copy: Path, tag: str) -> None:
        message = f"no room for {tag} in {copy.name}"
        raise OSError(message)

    with pytest.raises(OSError, match="no room"):
        shelf.add(root, staging, folder, finish)

    assert shelf.tags(root, "tiny") == []
    assert list(staging.iterdir()) == []


def test_a_copy_altered_on_its_way_is_refused(
    root: Path, staging: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_whole = shutil.copytree

    def copy_badly(source: Path, target: Path) -> None:
        copy_whole(source, target)
        (target / artifact.CARD).write_text("altered")

    monkeypatch.setattr(shutil, "copytree", copy_badly)

    with pytest.raises(errors.ArtifactCorrupt, match=r"card\.json was altered"):
        shelf.add(root, staging, folder)
    assert shelf.tags(root, "tiny") == []


def test_two_processes_that_add_the_same_version_at_once_both_succeed(
    root: Path, staging: Path, folder: Path
) -> None:
    # The other process is the faster one: it is done while this one finishes its copy.
    def other(_: Path, tag: str) -> None:
        assert shelf.add(root, staging, folder) == tag

    tag = shelf.add(root, staging, folder, other)

    assert shelf.tags(root, "tiny") == [tag]
    artifact.verify(shelf.find(root, tag, {}), tag)
    assert list(staging.iterdir()) == []


def test_a_damaged_version_gives_way_to_a_sound_one(
    root: Path, staging: Path, folder: Path
) -> None:
    tag = shelf.add(root, staging, folder)
    (shelf.find(root, tag, {}) / artifact.CARD).unlink()

    shelf.add(root, staging, folder)

    artifact.verify(shelf.find(root, tag, {}), tag)


def test_a_folder_that_is_no_version_is_passed_over(root: Path) -> None:
    (root / "tiny" / "halfway").mkdir(parents=True)

    assert shelf.tags(root, "tiny") == []


def test_moving_keeps_removes_and_adds() -> None:
    now = {"champion": "m:a", "candidate": "m:b"}

    assert shelf.moved(now, {"candidate": None, "previous": "m:a"}) == {  # type: ignore[arg-type]
        "champion": "m:a",
        "previous": "m:a",
    }


def test_an_alias_that_points_nowhere_is_unknown(root: Path) -> None:
    with pytest.raises(errors.UnknownVersion, match="no version 'tiny:champion'"):
        shelf.find(root, "tiny:champion", {"champion": "tiny:0123456789ab"})
