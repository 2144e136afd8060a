from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from coppice import errors, settings
from deploy.backends.kube import connect
from tests.support import command_line

CONFIG = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
}


def tree(tmp_path: Path, *lines: str) -> settings.Settings:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "kube.yaml").write_text(yaml.safe_dump(CONFIG))
    return command_line.project(tmp_path, "[cluster]", 'kubeconfig = "kube.yaml"', *lines)


def test_the_kubeconfig_is_looked_for_beside_the_settings(tmp_path: Path) -> None:
    found = connect.reach(tree(tmp_path))
    assert (found.server, found.namespace) == ("http://127.0.0.1:1", "shop")


def test_the_namespace_of_the_settings_wins_over_the_context(tmp_path: Path) -> None:
    assert connect.reach(tree(tmp_path, 'namespace = "models"')).namespace == "models"


def test_a_kubeconfig_that_is_not_there_is_a_problem_of_the_cluster(tmp_path: Path) -> None:
    made = command_line.project(tmp_path, "[cluster]", 'kubeconfig = "none.yaml"')
    with pytest.raises(errors.ClusterProblem, match=r"none\.yaml"):
        connect.reach(made)


def test_the_workload_has_the_models_name_unless_another_is_set(tmp_path: Path) -> None:
    assert connect.workload(tree(tmp_path / "a")) == "tiny"
    assert connect.workload(tree(tmp_path / "b", 'workload = "shop-server"')) == "shop-server"


def test_nobody_leads_and_nothing_is_asked_before_the_first_turn(tmp_path: Path) -> None:
    # Nobody listens on port 1: a question would raise.
    parts = connect.connect(tree(tmp_path))
    assert not parts.lease.leads
    parts.portal.call(parts.client.close())
    parts.portal.close()
