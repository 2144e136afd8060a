"""Which backend the settings lead to: named, or found in the cluster, and never a silent guess."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from deploy import backends
from deploy.backends.argo import ArgoBackend
from deploy.backends.flagger import FlaggerBackend
from deploy.backends.gateway import GatewayBackend
from deploy.backends.local import LocalBackend
from deploy.backends.observed import ObservedBackend
from tests.support import clusters, kube_server, kube_store
from tests.support.kube_server import Cluster
from tests.support.rollouts import MODEL, A

ROLLOUT, CANARY = clusters.OBJECTS["argo"][0], clusters.CANARY


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kube_server.running(schemas=kube_store.crd_schemas()) as running:
        yield running


def tree(cluster: Cluster, folder: Path, backend: str, **chosen: Any) -> settings.Settings:
    (folder / "kube").write_text(cluster.kubeconfig())
    return settings.from_tree(
        {
            "project": {"name": MODEL},
            "rollout": {"backend": backend},
            "cluster": {"kubeconfig": "kube", **chosen},
        },
        root=folder,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("local", LocalBackend),
        ("argo", ArgoBackend),
        ("flagger", FlaggerBackend),
        ("gateway", GatewayBackend),
    ],
)
def test_the_settings_name_the_backend(
    cluster: Cluster, tmp_path: Path, name: str, kind: type
) -> None:
    with closing(backends.open_backend(tree(cluster, tmp_path, name))) as backend:
        assert type(backend) is kind


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ([ROLLOUT], ArgoBackend),
        ([CANARY], FlaggerBackend),
        ([CANARY, ROLLOUT], ArgoBackend),
    ],
    ids=["a Rollout", "a Canary", "both"],
)
def test_auto_is_whoever_looks_after_the_workload(
    cluster: Cluster, tmp_path: Path, there: list[dict[str, Any]], kind: type
) -> None:
    assert [cluster.add(manifest) for manifest in there]
    with closing(backends.open_backend(tree(cluster, tmp_path, "auto"))) as backend:
        assert type(backend) is kind


def test_auto_passes_over_a_tool_that_is_not_installed(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add(CANARY)
    cluster.absent.add("argoproj.io/v1alpha1")
    with closing(backends.open_backend(tree(cluster, tmp_path, "auto"))) as backend:
        assert type(backend) is FlaggerBackend


def test_auto_names_the_choices_where_nobody_does(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(errors.ClusterProblem) as refused:
        backends.open_backend(tree(cluster, tmp_path, "auto", workload="another"))
    message = str(refused.value)
    assert "named another" in message
    assert '"gateway"' in message
    assert '"local"' in message


@pytest.mark.parametrize("name", ["argo", "flagger"])
def test_where_git_writes_nothing_is_written(cluster: Cluster, tmp_path: Path, name: str) -> None:
    assert [cluster.add(manifest) for manifest in [ROLLOUT, *clusters.OBJECTS["flagger"]]]
    revision = cluster.store.revision
    chosen = tree(cluster, tmp_path, name, write_back="none")
    table = clusters.routing.RoutingTable(generation=1, model=MODEL, champion=A)

    with closing(backends.open_backend(chosen)) as backend:
        assert isinstance(backend, ObservedBackend)
        assert "judges" in backend.supports()
        assert not backend.apply(table)
        assert backend.abort("no").table is None
        backend.steer("promote")
        assert backend.tend() == 0

    assert cluster.store.revision == revision


def test_who_moves_the_weights_cannot_be_told_to_write_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(errors.SettingsError, match="let Argo Rollouts or Flagger"):
        backends.open_backend(tree(cluster, tmp_path, "gateway", write_back="none"))
