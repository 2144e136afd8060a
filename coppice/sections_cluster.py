"""The table `[cluster]` of `coppice.toml`: what moves on Kubernetes, and who moves it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from coppice.sections import Section

_NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
"""Of an object in a cluster, or empty."""


class ClusterSettings(Section):
    """The Kubernetes objects of a rollout, used where `rollout.backend` is not `local`."""

    kubeconfig: Path | None = None
    """File that says how the cluster is reached, relative to coppice.toml. By default that of the
    pod's service account, then KUBECONFIG, then `~/.kube/config`."""
    namespace: str = Field(default="", pattern=_NAME)
    """Where the objects lie; by default where the pod does, or what the kubeconfig names."""
    workload: str = Field(default="", pattern=_NAME)
    """The Rollout, or the Canary, or for `gateway` the HTTPRoute; by default the model's name."""
    template: str = Field(default="", pattern=_NAME)
    """The Deployment that holds the pod template, where the workload only refers to it."""
    write_back: Literal["cluster", "none"] = "cluster"
    """`none` where Git says what runs: nothing is patched, what the pod template names is recorded
    and judged, and Argo Rollouts or Flagger acts on the verdicts that it asks for."""
    candidate: str = Field(default="", pattern=_NAME)
    """For `gateway`: the candidate's Deployment and Service; by default the stable one's name and
    `-candidate`. The stable one bears the name `template`, by default the workload's."""
    tend_seconds: float = Field(default=30.0, gt=0)
    """So often pods that started since are told what their template does not say."""
    lease: str = Field(default="", pattern=_NAME)
    """The lease of which the holder moves the rollout; by default `coppice-` and the workload."""
    lease_seconds: float = Field(default=15.0, ge=3)
    """After so long without a sign of the holder another controller takes over."""
