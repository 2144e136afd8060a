from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from coppice import errors
from deploy.backends.kube import access

IN_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def config(tmp_path: Path, *, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """Write a kubeconfig of two contexts, of which `here` is the current one."""
    tree = {
        "current-context": "here",
        "contexts": [
            {"name": "there", "context": {"cluster": "none", "user": "none"}},
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        ],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """Return the folder of a service account, with the machine's own authorities as its CA."""
    import certifi

    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "namespace").write_text("shop")
    (folder / "ca.crt").write_text(Path(certifi.where()).read_text())
    return folder


def test_a_pod_uses_its_service_account(account: Path) -> None:
    found = access.in_cluster(IN_POD, folder=account)

    assert found.server == "https://10.0.0.1:6443"
    assert found.namespace == "shop"
    assert found.headers() == {"authorization": "Bearer first"}


def test_a_token_that_the_kubelet_renewed_is_used_at_once(account: Path) -> None:
    found = access.in_cluster(IN_POD, folder=account)
    (account / "token").write_text("second\n")

    assert found.headers() == {"authorization": "Bearer second"}


def test_an_address_of_version_six_is_put_in_brackets(account: Path) -> None:
    found = access.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}, folder=account)

    assert found.server == "https://[fd00::1]:443"


def test_a_pod_without_a_token_is_told_what_to_mount(tmp_path: Path) -> None:
    with pytest.raises(errors.ClusterProblem, match="automountServiceAccountToken"):
        access.in_cluster(IN_POD, folder=tmp_path)


def test_the_current_context_of_a_kubeconfig_counts(tmp_path: Path) -> None:
    path = config(tmp_path, cluster={"server": "http://127.0.0.1:8001/"}, user={"token": "t"})

    found = access.find({"KUBECONFIG": str(path)})

    assert found.server == "http://127.0.0.1:8001"
    assert found.namespace == "shop"
    assert found.headers() == {"authorization": "Bearer t"}


def test_a_namespace_that_is_asked_for_wins(tmp_path: Path) -> None:
    path = config(tmp_path, cluster={"server": "http://127.0.0.1:8001"}, user={})

    assert access.kubeconfig(path, namespace="other").namespace == "other"


def test_a_token_never_shows(tmp_path: Path) -> None:
    path = config(tmp_path, cluster={"server": "http://127.0.0.1:8001"}, user={"token": "geheim"})

    assert "geheim" not in repr(access.kubeconfig(path))


def test_a_user_without_credentials_sends_none(tmp_path: Path) -> None:
    path = config(tmp_path, cluster={"server": "http://127.0.0.1:8001"}, user={})

    assert access.kubeconfig(path).headers() == {}


@pytest.mark.parametrize("way", ["exec", "auth-provider", "username"])
def test_a_way_in_that_is_not_taken_is_named_with_another(tmp_path: Path, way: str) -> None:
    path = config(tmp_path, cluster={"server": "http://127.0.0.1:8001"}, user={way: {"a": "b"}})

    with pytest.raises(errors.ClusterProblem, match=f"`{way}` is not supported; give it a token"):
        access.kubeconfig(path)


@pytest.mark.parametrize("way", ["proxy-url", "tls-server-name"])
def test_a_way_to_the_server_that_is_not_taken_is_named(tmp_path: Path, way: str) -> None:
    path = config(tmp_path, cluster={"server": "https://127.0.0.1", way: "a"}, user={})

    with pytest.raises(errors.ClusterProblem, match=f"cluster's `{way}`.*run `kubectl proxy`"):
        access.kubeconfig(path)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "current-context: nowhere", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(errors.ClusterProblem, match="no kubeconfig that can be used"):
        access.kubeconfig(path)


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1", "certificate-authority-data": "bm90IG9uZQ=="}
    path = config(tmp_path, cluster=cluster, user={})

    with pytest.raises(errors.ClusterProblem, match="certificate"):
        access.kubeconfig(path)


def test_a_machine_without_any_cluster_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(errors.ClusterProblem, match="set KUBECONFIG"):
        access.find({})
