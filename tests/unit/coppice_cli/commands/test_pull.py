from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coppice import artifact, registry, routing
from tests.support import artifacts, command_line, scoring, serving


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return scoring.project(tmp_path / "project")


def other(folder: Path) -> Path:
    command_line.project(folder, "[store]", 'registry = "folder"', 'folder = "models"')
    return folder


class TestPull:
    def test_by_default_the_aliases_in_use_are_pulled(
        self, call: command_line.Call, made: serving.Project
    ) -> None:
        result = call("pull", "-C", made.tree.root)

        assert (result.code, result.out.split()[0]) == (0, made.champion)

    def test_a_server_that_is_handed_no_table_yet_begins_with_the_version_it_is_told(
        self, call: command_line.Call, made: serving.Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (made.tree.root / "handed.json").write_text("")
        monkeypatch.setenv("COPPICE_SERVE__ROUTING_FILE", "handed.json")
        monkeypatch.setenv("COPPICE_SERVE__INITIAL", made.candidate)

        result = call("pull", "-C", made.tree.root)

        assert [line.split()[0] for line in result.out.splitlines()] == [made.candidate]

    def test_a_server_that_is_handed_a_table_begins_with_what_answers_by_it(
        self, call: command_line.Call, made: serving.Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = routing.RoutingTable(
            model="tiny",
            champion=made.candidate,
            candidate=made.champion,
            weight=1.0,
            previous="tiny:000000000000",
        )
        routing.save(made.tree.root / "handed.json", table)
        monkeypatch.setenv("COPPICE_SERVE__ROUTING_FILE", "handed.json")

        result = call("pull", "-C", made.tree.root)

        pulled = [line.split()[0] for line in result.out.splitlines()]
        assert (result.code, pulled) == (0, [made.candidate, made.champion])

    def test_each_version_is_named_with_its_folder(
        self, call: command_line.Call, made: serving.Project
    ) -> None:
        words = ("pull", "-C", made.tree.root, "--json", made.candidate, "champion")
        found = [json.loads(line) for line in call(*words).out.splitlines()]

        assert [each["tag"] for each in found] == [made.candidate, made.champion]
        assert Path(found[0]["path"]) == made.path(made.candidate)
        assert found[0]["bytes"] > 0

    def test_an_altered_version_is_refused(
        self, call: command_line.Call, made: serving.Project
    ) -> None:
        (made.path(made.champion) / artifact.MODEL).write_bytes(b"other")

        result = call("pull", "-C", made.tree.root, made.champion)

        assert result.code == 3
        assert "was altered" in result.err

    def test_an_unknown_version_is_refused(
        self, call: command_line.Call, made: serving.Project
    ) -> None:
        assert call("pull", "-C", made.tree.root, "tiny:000000000000").code == 3

    def test_without_aliases_it_asks_for_versions(
        self, call: command_line.Call, tmp_path: Path
    ) -> None:
        result = call("pull", "-C", other(tmp_path / "other"))

        assert (result.code, "name the versions" in result.err) == (3, True)

    def test_a_store_that_is_not_there_is_the_environments_fault(
        self, call: command_line.Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ada")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
        monkeypatch.setattr("coppice.registry.objects.FIRST_PAUSE_SECONDS", 0.001)
        lines = ("[store]", 'registry = "s3"', 'bucket = "b-b"', 'endpoint = "http://127.0.0.1:9"')
        command_line.project(tmp_path / "far", *lines)

        result = call("pull", "-C", tmp_path / "far", "champion")

        assert (result.code, "hidden" in result.err) == (8, False)


class TestPush:
    def test_a_version_goes_into_the_other_registry(
        self, call: command_line.Call, made: serving.Project, tmp_path: Path
    ) -> None:
        into = other(tmp_path / "other")

        result = call("push", "-C", made.tree.root, "--into", into, "champion")

        tree = command_line.project(into, "[store]", 'registry = "folder"', 'folder = "models"')
        assert (result.code, result.out.split()) == (0, [made.champion])
        assert registry.open_registry(tree).tags("tiny") == [made.champion]
        assert registry.open_registry(tree).aliases("tiny") == {}

    def test_its_dense_parent_goes_before_it(
        self, call: command_line.Call, made: serving.Project, tmp_path: Path
    ) -> None:
        bias = np.array([0.0, 0.5])
        child = made.add(artifacts.linear_classifier, parent=made.parent, bias=bias)

        result = call("push", "-C", made.tree.root, "--into", other(tmp_path / "other"), child)

        assert result.out.split() == [made.parent, child]
