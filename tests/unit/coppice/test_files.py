from __future__ import annotations

import os
from pathlib import Path

import pytest

from coppice import files


def test_a_file_is_made_with_its_folder(tmp_path: Path) -> None:
    files.replace(tmp_path / "a" / "b" / "file", b"new")

    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"


def test_the_old_content_gives_way_to_the_new(tmp_path: Path) -> None:
    files.replace(tmp_path / "file", b"old and longer")

    files.replace(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"


def test_an_open_reader_keeps_the_old_content(tmp_path: Path) -> None:
    files.replace(tmp_path / "file", b"old")

    with (tmp_path / "file").open("rb") as reader:
        files.replace(tmp_path / "file", b"new")

        assert reader.read() == b"old"


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    files.replace(tmp_path / "file", b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_content_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.replace(tmp_path / "file", b"old")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    # A full disk, at the last moment at which it can show.
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        files.replace(tmp_path / "file", b"new")

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_name_that_is_a_folder_is_an_error_and_leaves_no_scraps(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)

    with pytest.raises(OSError, match="file"):
        files.replace(tmp_path / "file", b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
