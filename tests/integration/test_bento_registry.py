"""The default registry, as BentoML itself and other processes see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bentoml._internal.models.model import ModelStore

from coppice import artifact, errors, settings, telemetry
from coppice.registry import open_registry
from coppice.registry.bento import BentoRegistry
from tests.support import artifacts

POINTER = Path(__file__).parents[1] / "support" / "pointer.py"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def tags(home: Path, tmp_path: Path) -> list[str]:
    registry = BentoRegistry(home)
    artifacts.linear_classifier(tmp_path / "a", accepted=0.8)
    artifacts.linear_classifier(tmp_path / "b", accepted=0.9, parent="tiny:0123456789ab")
    return [registry.add(tmp_path / "a"), registry.add(tmp_path / "b")]


class TestWithBentoML:
    def test_its_store_finds_the_same_folders(self, home: Path, tags: list[str]) -> None:
        store = ModelStore(home / "models")
        registry = BentoRegistry(home)

        assert [store.get(tag).path for tag in tags] == [str(registry.path(tag)) for tag in tags]

    def test_its_store_lists_the_same_tags(self, home: Path, tags: list[str]) -> None:
        assert sorted(str(model.tag) for model in ModelStore(home / "models").list()) == sorted(
            tags
        )

    def test_its_latest_is_our_newest(self, home: Path, tags: list[str]) -> None:
        newest = BentoRegistry(home).tags("tiny")[0]

        assert newest in tags
        assert str(ModelStore(home / "models").get("tiny:latest").tag) == newest

    def test_it_shows_what_the_manifest_says(self, home: Path, tags: list[str]) -> None:
        info = ModelStore(home / "models").get(tags[1]).info

        assert info.labels == {"task": "binary", "precision": "fp32"}
        assert info.metadata == {
            "accepted": 0.9,
            "accepted_rows": artifacts.REFERENCE_ROWS,
            "parent": "tiny:0123456789ab",
        }

    def test_its_own_description_does_not_break_the_digests(
        self, home: Path, tags: list[str]
    ) -> None:
        folder = BentoRegistry(home).path(tags[0])

        assert (folder / "model.yaml").is_file()
        artifact.verify(folder, tags[0])

    def test_its_command_line_lists_the_versions(self, home: Path, tags: list[str]) -> None:
        answer = subprocess.run(
            [sys.executable, "-m", "bentoml", "models", "list", "--output", "json"],
            env={**os.environ, **telemetry.OPT_OUT, "BENTOML_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )

        assert sorted(row["tag"] for row in json.loads(answer.stdout)) == sorted(tags)


class TestSeveralProcesses:
    def test_aliases_moved_by_two_processes_at_once_are_all_kept(
        self, home: Path, tags: list[str]
    ) -> None:
        aliases = ("champion", "candidate")
        movers = [
            subprocess.Popen([sys.executable, str(POINTER), str(home), alias, "40", *tags])
            for alias in aliases
        ]

        assert [mover.wait() for mover in movers] == [0, 0]
        # 40 moves over two tags end on the second; a lost update would drop the other's alias.
        assert BentoRegistry(home).aliases("tiny") == dict.fromkeys(aliases, tags[1])

    def test_aliases_are_seen_by_a_registry_opened_before(
        self, home: Path, tags: list[str]
    ) -> None:
        reader = BentoRegistry(home)
        BentoRegistry(home).point("tiny", {"champion": tags[0]})

        assert reader.aliases("tiny") == {"champion": tags[0]}


class TestAliasFile:
    def test_a_file_that_does_not_parse_says_what_to_do(self, home: Path, tags: list[str]) -> None:
        (home / "aliases.json").write_text("{")

        with pytest.raises(errors.EnvironmentProblem, match="restore it, or remove it"):
            BentoRegistry(home).path(tags[0])

    def test_a_file_of_a_newer_schema_is_refused(self, home: Path) -> None:
        home.mkdir()
        (home / "aliases.json").write_text('{"schema": 9, "names": {}}')

        with pytest.raises(errors.EnvironmentProblem, match="schema 9, this version reads 1"):
            BentoRegistry(home).aliases("tiny")

    def test_no_temporary_file_is_left_behind(self, home: Path, tags: list[str]) -> None:
        BentoRegistry(home).point("tiny", {"champion": tags[0]})

        assert sorted(path.name for path in home.iterdir()) == [
            "aliases.json",
            "models",
            "registry.lock",
            "staging",
        ]
        assert list((home / "staging").iterdir()) == []


def test_looking_up_imports_no_bentoml_and_touches_no_home(
    home: Path, tags: list[str], tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from coppice.registry.bento import BentoRegistry;"
        f"print(BentoRegistry(Path({str(home)!r})).path({tags[0]!r}), 'bentoml' in sys.modules)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.split() == [str(BentoRegistry(home).path(tags[0])), "False"]
    assert not (tmp_path / "empty").exists()


def test_adding_touches_no_home_of_the_user(home: Path, tmp_path: Path) -> None:
    artifacts.linear_classifier(tmp_path / "a")
    program = (
        "from pathlib import Path; from coppice.registry.bento import BentoRegistry;"
        f"BentoRegistry(Path({str(home)!r})).add(Path({str(tmp_path / 'a')!r}))"
    )

    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path / "empty")},
        check=True,
    )

    assert not (tmp_path / "empty").exists()


def test_a_projects_registry_lies_in_its_home_folder(tmp_path: Path) -> None:
    tree = settings.from_tree({"project": {"name": "tiny"}}, root=tmp_path)
    artifacts.linear_classifier(tmp_path / "a")

    tag = open_registry(tree).add(tmp_path / "a")

    assert open_registry(tree).path(tag).is_relative_to(tmp_path / ".coppice" / "bentoml")
