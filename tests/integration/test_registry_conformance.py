"""What every registry must do, whatever keeps its versions.

A new implementation adds itself to `OPENERS`.
"""

from __future__ import annotations

import collections
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from coppice import artifact, errors
from coppice.registry.base import Registry
from coppice.registry.bento import BentoRegistry
from coppice.registry.folder import FolderRegistry
from coppice.registry.memory import MemoryRegistry
from coppice.runtime import Runtime
from tests.support import artifacts, s3

OPENERS: dict[str, Callable[[Path], Registry]] = {
    "memory": lambda folder: MemoryRegistry(folder / "registry"),
    "bento": lambda folder: BentoRegistry(folder / "registry"),
    "folder": lambda folder: FolderRegistry(folder / "registry"),
}
KINDS = [*sorted(OPENERS), pytest.param("s3", marks=s3.needs_server)]

Pack: TypeAlias = Callable[..., Path]


def _in_a_bucket(endpoint: str) -> Callable[[Path], Registry]:
    return lambda folder: s3.place(endpoint).registry(folder / "registry")


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    opener = OPENERS.get(request.param) or _in_a_bucket(request.getfixturevalue("s3_endpoint"))
    return opener(tmp_path)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Pack an artifact into a folder of its own; versions differ in their accepted score."""

    def build(accepted: float = 0.95, name: str = "tiny", created_at: float = 1.0) -> Path:
        folder = tmp_path / f"{name}-{accepted}"
        artifacts.linear_classifier(folder, name=name, accepted=accepted)
        manifest = artifact.read_manifest(folder)
        artifact.write_manifest(folder, msgspec.structs.replace(manifest, created_at=created_at))
        return folder

    return build


class TestAdding:
    def test_the_tag_is_the_artifacts_own(self, registry: Registry, pack: Pack) -> None:
        folder = pack()

        assert registry.add(folder) == artifact.tag(folder)

    def test_an_added_version_is_whole_and_loads(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())

        Runtime(registry.path(tag), expected_tag=tag).warm_up()

    def test_the_copy_outlives_the_folder_it_came_from(
        self, registry: Registry, pack: Pack
    ) -> None:
        folder = pack()
        tag = registry.add(folder)

        shutil.rmtree(folder)

        assert artifact.verify(registry.path(tag), tag).name == "tiny"

    def test_adding_twice_is_no_error_and_changes_nothing(
        self, registry: Registry, pack: Pack
    ) -> None:
        folder = pack()
        tag = registry.add(folder)
        before = registry.path(tag).stat().st_ino

        assert registry.add(folder) == tag
        assert registry.tags("tiny") == [tag]
        assert registry.path(tag).stat().st_ino == before

    def test_an_altered_artifact_is_refused(self, registry: Registry, pack: Pack) -> None:
        folder = pack()
        (folder / artifact.CARD).write_text("{}")

        with pytest.raises(errors.ArtifactCorrupt, match=r"card\.json was altered"):
            registry.add(folder)
        assert registry.tags("tiny") == []

    def test_an_altered_copy_of_a_known_version_is_refused(
        self, registry: Registry, pack: Pack
    ) -> None:
        folder = pack()
        tag = registry.add(folder)
        (folder / artifact.CARD).write_text("{}")

        with pytest.raises(errors.ArtifactCorrupt, match=r"card\.json was altered"):
            registry.add(folder)
        artifact.verify(registry.path(tag), tag)

    def test_a_folder_that_is_no_artifact_is_refused(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        with pytest.raises(errors.ArtifactError, match="is not an artifact"):
            registry.add(tmp_path)

    @pytest.mark.parametrize("name", ["Upper", "a/b", "..", "", "a" * 64, "a:b"])
    def test_a_name_that_no_tag_can_hold_is_refused(
        self, registry: Registry, tmp_path: Path, name: str
    ) -> None:
        artifacts.linear_classifier(tmp_path / "odd", name=name)

        with pytest.raises(errors.ArtifactError, match="cannot name a version"):
            registry.add(tmp_path / "odd")

    def test_adding_again_mends_a_damaged_version(self, registry: Registry, pack: Pack) -> None:
        folder = pack()
        tag = registry.add(folder)
        (registry.path(tag) / artifact.MODEL).write_bytes(b"rotten")

        registry.add(folder)

        artifact.verify(registry.path(tag), tag)


class TestLookingUp:
    def test_a_version_is_found_by_its_tag(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())

        assert artifact.tag(registry.path(tag)) == tag

    def test_a_version_is_found_by_the_start_of_its_id(
        self, registry: Registry, pack: Pack
    ) -> None:
        tag = registry.add(pack())

        assert registry.path(tag[: len("tiny:") + 4]) == registry.path(tag)

    def test_a_version_is_found_by_its_alias(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())
        registry.point("tiny", {"champion": tag})

        assert registry.path("tiny:champion") == registry.path(tag)

    def test_tags_come_newest_first(self, registry: Registry, pack: Pack) -> None:
        middle = registry.add(pack(0.5, created_at=2.0))
        oldest = registry.add(pack(0.6, created_at=1.0))
        newest = registry.add(pack(0.7, created_at=3.0))

        assert registry.tags("tiny") == [newest, middle, oldest]

    def test_names_do_not_mix(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack(name="tiny"))
        registry.add(pack(name="tiny2"))

        assert registry.tags("tiny") == [tag]

    def test_an_unknown_name_has_no_tags_and_no_aliases(self, registry: Registry) -> None:
        assert registry.tags("nobody") == []
        assert registry.aliases("nobody") == {}

    def test_an_unknown_name_lists_the_known_ones(self, registry: Registry, pack: Pack) -> None:
        registry.add(pack())

        with pytest.raises(errors.UnknownVersion, match="known names: tiny"):
            registry.path("tinny:champion")

    def test_an_empty_registry_says_that_it_is(self, registry: Registry) -> None:
        with pytest.raises(errors.UnknownVersion, match="none yet; `coppice prune` makes"):
            registry.path("tiny:champion")

    def test_an_alias_that_no_rollout_has_set_says_what_sets_it(
        self, registry: Registry, pack: Pack
    ) -> None:
        registry.add(pack())
        with pytest.raises(errors.UnknownVersion, match="that alias is set by a rollout"):
            registry.path("tiny:champion")

    def test_an_unknown_id_lists_the_nearest_tags(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())

        with pytest.raises(errors.UnknownVersion, match=f"the nearest: {tag}"):
            registry.path("tiny:ffffffffffff")

    def test_an_alias_that_is_not_in_use_is_unknown(self, registry: Registry, pack: Pack) -> None:
        registry.add(pack())

        with pytest.raises(errors.UnknownVersion, match="no version 'tiny:candidate'"):
            registry.path("tiny:candidate")

    def test_a_start_that_fits_several_versions_names_them(
        self, registry: Registry, pack: Pack
    ) -> None:
        # 17 ids cannot begin with 17 different hexadecimal digits, so two share their first.
        tags = [registry.add(pack(accepted=number / 100)) for number in range(17)]
        starts = collections.Counter(tag[: len("tiny:") + 1] for tag in tags)
        shared = starts.most_common(1)[0][0]

        with pytest.raises(errors.UnknownVersion, match="give more of the id"):
            registry.path(shared)

    @pytest.mark.parametrize("tag", ["tiny", "tiny:", ":", "", "../models/tiny:x", "tiny:../tiny"])
    def test_what_is_no_tag_is_unknown(self, registry: Registry, pack: Pack, tag: str) -> None:
        registry.add(pack())

        with pytest.raises(errors.UnknownVersion):
            registry.path(tag)

    def test_a_damaged_version_does_not_hide_the_others(
        self, registry: Registry, pack: Pack
    ) -> None:
        sound = registry.add(pack(0.5, created_at=2.0))
        damaged = registry.add(pack(0.6, created_at=1.0))
        (registry.path(damaged) / artifact.MANIFEST).write_text("{")

        assert registry.tags("tiny") == [sound, damaged]


class TestPointing:
    def test_several_aliases_move_in_one_step(self, registry: Registry, pack: Pack) -> None:
        old, new = registry.add(pack(0.5)), registry.add(pack(0.6))
        registry.point("tiny", {"champion": old, "candidate": new})

        registry.point("tiny", {"champion": new, "previous": old, "candidate": None})

        assert registry.aliases("tiny") == {"champion": new, "previous": old}

    def test_aliases_that_are_not_named_stay(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())
        registry.point("tiny", {"champion": tag})

        registry.point("tiny", {"parent": tag})

        assert registry.aliases("tiny") == {"champion": tag, "parent": tag}

    def test_an_alias_can_be_copied_from_another(self, registry: Registry, pack: Pack) -> None:
        tag = registry.add(pack())
        registry.point("tiny", {"candidate": tag})

        registry.point("tiny", {"champion": "tiny:candidate"})

        assert registry.aliases("tiny")["champion"] == tag

    def test_pointing_at_an_unknown_version_moves_nothing(
        self, registry: Registry, pack: Pack
    ) -> None:
        tag = registry.add(pack())
        registry.point("tiny", {"champion": tag})

        with pytest.raises(errors.UnknownVersion):
            registry.point("tiny", {"champion": None, "candidate": "tiny:000000000000"})
        assert registry.aliases("tiny") == {"champion": tag}

    def test_pointing_at_a_version_of_another_name_is_refused(
        self, registry: Registry, pack: Pack
    ) -> None:
        registry.add(pack(name="tiny"))
        other = registry.add(pack(name="other"))

        with pytest.raises(errors.UnknownVersion, match="is no version of tiny"):
            registry.point("tiny", {"champion": other})

    def test_removing_an_alias_that_is_not_there_is_no_error(
        self, registry: Registry, pack: Pack
    ) -> None:
        registry.add(pack())

        registry.point("tiny", {"candidate": None})

        assert registry.aliases("tiny") == {}
