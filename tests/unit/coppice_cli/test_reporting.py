from __future__ import annotations

from pathlib import Path

import pytest

from coppice import artifact, errors
from coppice.testing import MemoryRegistry
from coppice_cli import reporting
from retrain.pruning import surgery
from tests.support import artifacts, cards, command_line

CUT = surgery.Surgery(groups=(surgery.GroupRecord("stem", 16, 8),))


def shelved(tmp_path: Path, record: str) -> tuple[MemoryRegistry, str]:
    folder, shelf = tmp_path / "made", MemoryRegistry(tmp_path / "registry")
    artifacts.linear_classifier(folder)
    (folder / artifact.SURGERY).write_text(record)
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return shelf, shelf.add(folder)


def test_the_page_shows_what_was_cut(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    shelf, tag = shelved(tmp_path, CUT.to_json())
    path = reporting.write(tree, shelf, tag, cards.harmless())
    assert path.parent == tree.home / "reports"
    text = path.read_text(encoding="utf-8")
    assert "What was cut" in text
    assert "stem: 16 before, 8 after" in text


def test_a_dense_parent_has_no_cut(tmp_path: Path) -> None:
    folder, shelf = tmp_path / "made", MemoryRegistry(tmp_path / "registry")
    artifacts.linear_classifier(folder)
    (folder / artifact.SURGERY).unlink()
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    assert reporting.cut_of(shelf, shelf.add(folder)) is None


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    shelf, tag = shelved(tmp_path, "[]")
    with pytest.raises(errors.ArtifactError, match="prune again"):
        reporting.cut_of(shelf, tag)
