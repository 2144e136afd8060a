from __future__ import annotations

from pathlib import Path

import pytest

from coppice import records, routing
from coppice.testing import MemoryRegistry
from coppice_cli.doctor import stores
from tests.support import artifacts, command_line

TABLE = routing.RoutingTable(model="tiny", champion="tiny:a", generation=3)


@pytest.fixture
def registry(tmp_path: Path) -> MemoryRegistry:
    return MemoryRegistry(tmp_path / "registry")


def _add(registry: MemoryRegistry, folder: Path) -> str:
    artifacts.linear_classifier(folder)
    return registry.add(folder)


def test_before_the_first_event_there_is_no_log(tmp_path: Path) -> None:
    (found,) = stores.event_log(command_line.project(tmp_path))
    assert found.level == "ok"
    assert not (tmp_path / ".coppice").exists()


def test_a_whole_log_is_intact(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    command_line.keep(tree, records.Command(model="tiny", action="pause", actor="ada"))
    (found,) = stores.event_log(tree)
    assert (found.level, found.text) == ("ok", "events.sqlite: intact, 0.0 MiB")


def test_a_broken_log_is_a_problem(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    command_line.keep(tree, *[records.Command(model="m", action="pause", actor="a")] * 200)
    content = bytearray(tree.log_path.read_bytes())
    # The last pages hold events and their indexes, none the schema.
    content[-8192:] = b"\x55" * 8192
    tree.log_path.write_bytes(content)
    found = list(stores.event_log(tree))
    assert {each.level for each in found} == {"problem"}


def test_a_log_in_memory_is_a_warning(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, "[events]", 'backend = "memory"')
    (found,) = stores.event_log(tree)
    assert found.level == "warning"


def test_an_empty_registry_says_how_to_begin(registry: MemoryRegistry) -> None:
    (found,) = stores.versions(registry, "tiny")
    assert "coppice prune" in found.text


def test_whole_versions_are_counted(registry: MemoryRegistry, tmp_path: Path) -> None:
    _add(registry, tmp_path / "new")
    (found,) = stores.versions(registry, "tiny")
    assert (found.level, found.text) == ("ok", "1 versions, every digest checked")


def test_an_altered_version_is_a_problem_that_names_the_file(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    tag = _add(registry, tmp_path / "new")
    model = registry.path(tag) / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes() + b"\0")
    found = next(iter(stores.versions(registry, "tiny")))
    assert found.level == "problem"
    assert tag in found.text
    assert "model.onnx was altered" in found.text


def test_without_a_table_nothing_is_wrong() -> None:
    (found,) = stores.routes(None, "tiny", {}, [])
    assert found.level == "ok"


def test_a_table_whose_versions_are_there_is_fine() -> None:
    (found,) = stores.routes(TABLE, "tiny", {"champion": "tiny:a"}, ["tiny:a"])
    assert (found.level, found.text) == ("ok", "generation 3, champion tiny:a")


def test_a_version_that_is_routed_to_but_missing_is_a_problem() -> None:
    found = next(iter(stores.routes(TABLE, "tiny", {}, [])))
    assert (found.level, found.text) == ("problem", "the champion tiny:a is not in the registry")


def test_the_table_of_another_model_is_a_problem() -> None:
    found = next(iter(stores.routes(TABLE, "other", {}, ["tiny:a"])))
    assert found.level == "problem"
    assert "routes 'tiny'" in found.text


def test_an_alias_that_lags_behind_is_a_warning() -> None:
    aliases = {"champion": "tiny:old"}
    found = next(iter(stores.routes(TABLE, "tiny", aliases, ["tiny:a", "tiny:old"])))
    assert found.level == "warning"
    assert "coppice rollout run" in found.remedy
