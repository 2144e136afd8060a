from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from coppice import errors, settings
from deploy.backends.kube import connect
from tests.support import command_line, kube_server

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


def test_a_pod_that_comes_again_under_its_name_is_not_taken_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "shop-control-0")
    with kube_server.running() as cluster:
        (tmp_path / "kube").write_text(cluster.kubeconfig())
        made = command_line.project(tmp_path, "[cluster]", 'kubeconfig = "kube"')
        before, after = connect.connect(made), connect.connect(made)
        leads = [part.portal.call(part.lease.hold()) for part in (before, after)]
        for part in (before, after):
            part.portal.call(part.client.close())
            part.portal.close()

    assert leads == [True, False]
