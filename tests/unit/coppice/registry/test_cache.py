from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coppice import artifact, errors
from coppice.registry import cache
from tests.support import artifacts

OLD = 2 * cache.SPARED_SECONDS


@pytest.fixture
def packed(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "packed" / name for name in "abc"]
    for place, folder in enumerate(folders):
        artifacts.linear_classifier(folder, accepted=0.1 * (place + 1))
    return folders


def copier(source: Path) -> Callable[[Path], None]:
    return lambda into: shutil.copytree(source, into, dirs_exist_ok=True) and None


def aged(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_a_version_is_fetched_once(tmp_path: Path, packed: list[Path]) -> None:
    kept, tag = cache.Cache(tmp_path / "cache", 10**9), artifact.tag(packed[0])
    path = kept.fill(tag, copier(packed[0]))

    assert kept.fill(tag, lambda _: pytest.fail("fetched again")) == path == kept.kept(tag)


def test_what_is_not_what_the_tag_names_is_not_kept(tmp_path: Path, packed: list[Path]) -> None:
    kept = cache.Cache(tmp_path / "cache", 10**9)

    with pytest.raises(errors.ArtifactCorrupt):
        kept.fill(artifact.tag(packed[0]), copier(packed[1]))
    assert kept.kept(artifact.tag(packed[0])) is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, packed: list[Path]) -> None:
    size = cache._size(packed[0])
    kept = cache.Cache(tmp_path / "cache", int(2.5 * size))
    oldest, older = (kept.fill(artifact.tag(each), copier(each)) for each in packed[:2])
    aged(oldest, OLD + 10)
    aged(older, OLD)

    newest = kept.fill(artifact.tag(packed[2]), copier(packed[2]))

    # Three versions of one size, and room for two and a half.
    assert [path.exists() for path in (oldest, older, newest)] == [False, True, True]


def test_what_was_used_lately_is_spared(tmp_path: Path, packed: list[Path]) -> None:
    kept = cache.Cache(tmp_path / "cache", 0)
    found = [kept.fill(artifact.tag(each), copier(each)) for each in packed]

    assert all(path.exists() for path in found)


def test_use_makes_young(tmp_path: Path, packed: list[Path]) -> None:
    kept, tag = cache.Cache(tmp_path / "cache", 0), artifact.tag(packed[0])
    path = aged(kept.fill(tag, copier(packed[0])), OLD)
    kept.kept(tag)

    kept.fill(artifact.tag(packed[1]), copier(packed[1]))

    assert path.exists()


def test_what_a_dead_process_left_is_removed(tmp_path: Path, packed: list[Path]) -> None:
    kept = cache.Cache(tmp_path / "cache", 10**9)
    left, fresh = (tmp_path / "cache" / "staging" / name for name in ("tmpold", "tmpnew"))
    left.mkdir(parents=True)
    fresh.mkdir()
    aged(left, 2 * cache.LEFT_SECONDS)

    kept.fill(artifact.tag(packed[0]), copier(packed[0]))

    assert [left.exists(), fresh.exists()] == [False, True]
