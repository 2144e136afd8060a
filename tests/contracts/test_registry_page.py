"""What docs/registry.md shows is what the settings read, and its commands do what it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from coppice import registry, settings
from coppice.registry.folder import FolderRegistry
from coppice.registry.s3 import S3Registry
from coppice_cli import main
from tests.support import command_line, house, readme, scoring

PAGE = (house.ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
FOLDER, BUCKET = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_shown_settings_open_the_registries_that_they_name(tmp_path: Path) -> None:
    folder = settings.from_tree(tomllib.loads(FOLDER), root=tmp_path)
    bucket = settings.from_tree(tomllib.loads(BUCKET), root=tmp_path)

    assert isinstance(registry.open_registry(folder), FolderRegistry)
    assert isinstance(registry.open_registry(bucket), S3Registry)


def test_the_shown_commands_move_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scoring.project(tmp_path / "vision")
    lines = ("[store]", 'registry = "folder"', 'folder = "models"')
    shared = command_line.project(tmp_path / "shared", *lines)
    monkeypatch.chdir(tmp_path)

    codes = [main.invoke(words[1:]) for words in readme.commands("coppice", "docs/registry.md")]

    assert codes == [0, 0, 0]
    assert registry.open_registry(shared).tags("tiny") == [made.champion]


def test_the_page_names_every_setting_of_the_bucket() -> None:
    fields = set(settings.StoreSettings.model_fields) - {"home", "folder", "timeout_seconds"}
    assert fields - set(re.findall(r"^(\w+) =", BUCKET, flags=re.MULTILINE)) == set()
