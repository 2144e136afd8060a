"""How a cluster is reached and who we are there: in a pod by its service account, else kubeconfig.

A service account's token is replaced on disk by the kubelet before it runs out, so it is read again
for each request. Of a kubeconfig the current context is used: tokens and client certificates, in
the file or beside it. Plugins that print a token (`exec`, `auth-provider`) are refused, because
they run programs that the file names, and so are ways to the server that are not taken (a proxy,
another name in its certificate); `kubectl proxy` stands in for them.

References
----------
Kubernetes, "Accessing the Kubernetes API from a Pod",
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/; "Organizing Cluster Access
Using kubeconfig Files", https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from coppice import errors

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REFUSED = {
    "user": ("exec", "auth-provider", "username", "impersonate", "as"),
    "cluster": ("proxy-url", "tls-server-name"),
}


class Access(NamedTuple):
    """Where the API server is, and how it knows us.

    Attributes
    ----------
    server
        Base address, without a slash at the end.
    namespace
        Where our objects lie.
    token
        Bearer token; never shown.
    token_file
        Read for each request, instead of `token`.
    trust
        What a server's certificate is checked against; `None` for plain HTTP.
    """

    server: str
    namespace: str
    token: str | None = None
    token_file: Path | None = None
    trust: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        """Show everything but the token."""
        return f"Access(server={self.server!r}, namespace={self.namespace!r})"

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are, with a token as fresh as the file's.

        Raises
        ------
        ClusterProblem
            The token's file cannot be read.
        """
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as cause:
                message = f"the service account's token {self.token_file} cannot be read: {cause}"
                raise errors.ClusterProblem(message) from cause
        return {} if token is None else {"authorization": f"Bearer {token}"}


def find(environment: Mapping[str, str] = os.environ, *, namespace: str = "") -> Access:
    """Find the cluster: this pod's, else the one of `KUBECONFIG` or `~/.kube/config`.

    Parameters
    ----------
    environment
        Variables; a pod has KUBERNETES_SERVICE_HOST among them.
    namespace
        Instead of the one that the pod lies in, or that the context names.

    Raises
    ------
    ClusterProblem
        There is none, or its description cannot be used.
    """
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environment, namespace=namespace)
    named = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    path = next((path for path in named if path.exists()), Path.home() / ".kube" / "config")
    if not path.exists():
        message = "this is no pod, and there is no kubeconfig; set KUBECONFIG to one"
        raise errors.ClusterProblem(message)
    return kubeconfig(path, namespace=namespace)


def in_cluster(
    environment: Mapping[str, str], *, namespace: str = "", folder: Path = SERVICE_ACCOUNT
) -> Access:
    """Return the access of the service account that this pod runs as.

    Raises
    ------
    ClusterProblem
        No token is mounted.
    """
    token = folder / "token"
    if not token.exists():
        message = (
            f"no service account token at {token}; set `automountServiceAccountToken: true` on "
            "the controller's pod"
        )
        raise errors.ClusterProblem(message)
    host = environment["KUBERNETES_SERVICE_HOST"]
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Access(
        server=f"https://{authority}",
        namespace=namespace or _text(folder / "namespace") or "default",
        token_file=token,
        trust=_trust(cafile=folder / "ca.crt"),
    )


def kubeconfig(path: Path, *, namespace: str = "") -> Access:
    """Read the current context of a kubeconfig.

    Raises
    ------
    ClusterProblem
        The file is not one, names what it does not hold, or asks for a way in that is not taken.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(tree, "contexts", "context", tree["current-context"])
        cluster = _named(tree, "clusters", "cluster", context["cluster"])
        user = _named(tree, "users", "user", context["user"]) if context.get("user") else {}
        server = str(cluster["server"]).rstrip("/")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as cause:
        message = f"{path} is no kubeconfig that can be used ({cause!r}); try `kubectl config view`"
        raise errors.ClusterProblem(message) from cause
    _refuse(path, user=user, cluster=cluster)
    token_file = user.get("tokenFile")
    return Access(
        server=server,
        namespace=namespace or context.get("namespace") or "default",
        token=user.get("token"),
        token_file=path.parent / token_file if token_file else None,
        trust=_trust_of(path, cluster, user) if server.startswith("https:") else None,
    )


def _refuse(path: Path, **parts: dict[str, Any]) -> None:
    """Name what is asked for and not done: passed over, it would fail somewhere else."""
    for part, found in parts.items():
        for way in _REFUSED[part]:
            if way in found:
                message = (
                    f"{path}: the {part}'s `{way}` is not supported; give it a token or a client "
                    "certificate, or run `kubectl proxy` and point `server` at it"
                )
                raise errors.ClusterProblem(message)


def _named(tree: dict[str, Any], section: str, kind: str, name: str) -> dict[str, Any]:
    for entry in tree.get(section) or []:
        if entry["name"] == name:
            found: dict[str, Any] = entry[kind] or {}
            return found
    raise KeyError(name)


def _trust_of(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    try:
        if cluster.get("insecure-skip-tls-verify"):
            trust = ssl._create_unverified_context()  # noqa: S323, SLF001 - the file asks for it by name
        elif data := cluster.get("certificate-authority-data"):
            trust = _trust(cadata=base64.b64decode(data, validate=True).decode("ascii"))
        else:
            authority = cluster.get("certificate-authority")
            trust = _trust(cafile=path.parent / authority if authority else None)
        _identify(trust, path.parent, user)
    except (OSError, ValueError, binascii.Error, ssl.SSLError) as cause:
        message = f"{path}: the certificates cannot be used: {cause}"
        raise errors.ClusterProblem(message) from cause
    return trust


def _identify(trust: ssl.SSLContext, folder: Path, user: dict[str, Any]) -> None:
    """Load the client's certificate; the library takes files only, so data pass through one."""
    if "client-certificate" in user:
        key = user.get("client-key")
        trust.load_cert_chain(folder / user["client-certificate"], folder / key if key else None)
    elif "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"], validate=True))
            pair.write(b"\n" + base64.b64decode(user.get("client-key-data", ""), validate=True))
            pair.flush()
            trust.load_cert_chain(pair.name)


def _trust(*, cafile: Path | None = None, cadata: str | None = None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile, cadata=cadata)
    except (OSError, ssl.SSLError) as cause:
        message = f"the cluster's certificate authority {cafile or ''} cannot be used: {cause}"
        raise errors.ClusterProblem(message) from cause


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""
