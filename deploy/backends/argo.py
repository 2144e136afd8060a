"""Routes that Argo Rollouts moves: we name the version, it moves the traffic and asks for verdicts.

A change of the pod template's annotation makes a new revision; Argo sends it traffic by its own
steps, asks our verdict between them, and promotes or aborts. An abort leaves its spec wanting the
bad revision, so the annotation goes back as well, else the next retry would serve it again.

References
----------
Argo Rollouts, https://argo-rollouts.readthedocs.io/: the Rollout specification (steps, status),
analysis, and what the kubectl plugin patches for abort, promote, pause and resume.
"""

from __future__ import annotations

import structlog

from coppice import settings
from deploy.backends import base
from deploy.backends.kube import connect as kube
from deploy.backends.kube import pods
from deploy.backends.kube.backend import WorkloadBackend
from deploy.backends.kube.client import Object, Resource
from deploy.backends.kube.workload import DEPLOYMENTS, Place, Workload, annotated, table_of

ROLLOUTS = Resource("argoproj.io/v1alpha1", "rollouts")

_log = structlog.get_logger(__name__)


def connect(tree: settings.Settings) -> ArgoBackend:
    """Open the Rollout that the settings name.

    Raises
    ------
    ClusterProblem
        No cluster can be found.
    """
    parts = kube.connect(tree)
    template = tree.cluster.template
    workload = Workload(
        parts.client,
        Place(ROLLOUTS, kube.workload(tree)),
        Place(DEPLOYMENTS, template) if template else None,
    )
    return ArgoBackend(parts, workload)


class ArgoBackend(WorkloadBackend):
    """Route by a Rollout."""

    def steer(self, action: base.Steering) -> None:
        """Do what the buttons of Argo's own dashboard do; see `base.Backend.steer`."""
        self._portal.call(self._steer(action))

    async def _observe(self) -> base.RouteState:
        rollout = await self._workload.read()
        return base.RouteState(table_of(rollout), tool_of(rollout))

    async def _named(self) -> base.RouteState:
        rollout = await self._workload.read()
        (text,) = await self._workload.templates(rollout)
        return base.RouteState(pods.decode(text) if text else None, tool_of(rollout))

    async def _give_up(self, owner: Object, candidate: str, reason: str) -> None:
        """Let Argo send everything to the stable pods at once."""
        if not owner.get("status", {}).get("abort"):
            _log.warning("argo_aborted", candidate=candidate, reason=reason)
            await self._told(owner, {"abort": True})

    async def _steer(self, action: base.Steering) -> None:
        rollout = await self._workload.read()
        match action:
            case "promote":
                await self._told(rollout, {"promoteFull": True})
            case "pause":
                await self._set_paused(rollout, paused=True)
            case "resume":
                rollout = await self._set_paused(rollout, paused=False)
                await self._told(rollout, {"pauseConditions": None})

    async def _told(self, rollout: Object, status: Object) -> None:
        """Press a button for the revision that was seen, and for no other that came since."""
        change = {**annotated(rollout, {}), "status": status}
        await self._workload.change(change, subresource="status")

    async def _set_paused(self, rollout: Object, *, paused: bool) -> Object:
        change = {**annotated(rollout, {}), "spec": {"paused": paused}}
        return await self._workload.change(change)


def tool_of(rollout: Object) -> base.Tool:
    """Read out of a Rollout how far Argo is.

    A status that Argo wrote before it saw our last change says nothing about it.
    """
    status = rollout.get("status", {})
    message = str(status.get("message", ""))
    if str(status.get("observedGeneration", "")) != str(rollout["metadata"].get("generation", "")):
        return base.Tool("progressing", 0.0, message)
    current, stable = status.get("currentPodHash"), status.get("stableRS")
    if status.get("abort") or status.get("phase") == "Degraded":
        return base.Tool("aborted", 0.0, message or "no reason was given")
    if status.get("phase") == "Healthy" and current == stable:
        return base.Tool("promoted", 1.0, message)
    return base.Tool("progressing", _weight(rollout, status), message)


def _weight(rollout: Object, status: Object) -> float:
    """Return the share of the canary: as the traffic router has it, else as the steps ask."""
    weights = status.get("canary", {}).get("weights", {})
    if "canary" in weights:
        return float(weights["canary"].get("weight", 0)) / 100.0
    steps = rollout["spec"].get("strategy", {}).get("canary", {}).get("steps", [])
    taken = steps[: int(status.get("currentStepIndex", 0)) + 1]
    asked = [step["setWeight"] for step in taken if "setWeight" in step]
    return float(asked[-1]) / 100.0 if asked else 0.0
