from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors
from coppice.testing import MemoryRegistry
from coppice_cli import versions
from tests.support import artifacts, cards


@pytest.fixture
def shelf(tmp_path: Path) -> MemoryRegistry:
    return MemoryRegistry(tmp_path / "registry")


def test_a_tag_an_alias_and_an_ids_start_name_the_same_version(
    shelf: MemoryRegistry, tmp_path: Path
) -> None:
    tag = cards.register(shelf, tmp_path / "made", cards.harmless())
    shelf.point("tiny", {"champion": tag})
    wanted = (tag, "champion", "tiny:champion", tag.partition(":")[2][:5], tag[:9])
    assert {versions.tag_of(shelf, "tiny", word) for word in wanted} == {tag}


def test_a_version_comes_with_its_card(shelf: MemoryRegistry, tmp_path: Path) -> None:
    tag = cards.register(shelf, tmp_path / "made", cards.harmless())
    assert versions.card_of(shelf, "tiny", tag) == (tag, cards.harmless())


def test_what_nobody_goes_by_is_an_unknown_version(shelf: MemoryRegistry) -> None:
    with pytest.raises(errors.UnknownVersion, match="no version 'tiny:champion'"):
        versions.tag_of(shelf, "tiny", "champion")


def test_a_version_without_a_card_of_ours_is_an_error_of_the_artifact(
    shelf: MemoryRegistry, tmp_path: Path
) -> None:
    artifacts.linear_classifier(tmp_path / "made")
    tag = shelf.add(tmp_path / "made")
    with pytest.raises(errors.ArtifactError, match="not a card of this version"):
        versions.card_of(shelf, "tiny", tag)
