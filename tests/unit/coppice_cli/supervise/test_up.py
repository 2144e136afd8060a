from __future__ import annotations

from pathlib import Path

import pytest

from coppice import settings
from coppice_cli.supervise import up


@pytest.fixture
def tree(tmp_path: Path) -> settings.Settings:
    return settings.from_tree({"project": {"name": "tiny"}}, root=tmp_path)


def test_the_server_starts_first_and_the_retrainer_last(tree: settings.Settings) -> None:
    assert [child.name for child in up.programs(tree)] == [
        "serve",
        "monitor",
        "rollout",
        "retrain",
    ]


def test_each_program_is_a_command_on_this_project(tree: settings.Settings) -> None:
    controller = up.programs(tree)[2]
    assert controller.argv[-4:] == ("rollout", "run", "--project", str(tree.root))


def test_a_file_in_the_current_folder_cannot_stand_before_a_package(
    tree: settings.Settings,
) -> None:
    assert [child.argv[1] for child in up.programs(tree)] == ["-P"] * 4


def test_with_kafka_the_logs_are_joined_to_the_cluster(tmp_path: Path) -> None:
    tables = {"events": {"backend": "kafka"}, "kafka": {"servers": "k:9092"}}
    on_kafka = settings.from_tree({"project": {"name": "tiny"}, **tables}, root=tmp_path)

    programs = up.programs(on_kafka)

    assert [child.name for child in programs[-2:]] == ["relay", "follow"]
    assert programs[-1].argv[-3:] == ("follow", "--project", str(on_kafka.root))
