"""Routes that Flagger moves: we name the version in a Deployment, it moves the traffic in steps.

A Canary object watches a target Deployment. A change of the target's pod template begins a trial:
Flagger sends traffic to the target's pods step by step, asks our hooks (`deploy.http`) before each,
and in the end copies the template to the Deployment NAME-primary, which serves between trials.

Flagger has no call that aborts, promotes or pauses. All of these are answers of our hooks, which
follow the event log: the `rollback` hook is answered with 200 where a candidate has to go, and
`confirm-promotion` where an operator promotes. So `steer` has nothing to do here. An abort puts the
pod template back, before the table says so: even where no hook is asked any more, the pods of the
trial become pods of the champion.

A Canary's status speaks of the trial before until Flagger has seen the new template, so a trial is
not concluded from the phase alone. `promoted` needs the primary's template to say what the target's
says. `aborted` needs a `lastAppliedSpec`, Flagger's hash of the template on trial, other than the
one that was noted right before the template changed. A template that returns to the last promoted
one begins no trial in Flagger and leaves that hash alone; nothing of ours waits for it, because
nothing is on trial then. Two trials never share a template: it holds the table's generation.

References
----------
Flagger, https://docs.flagger.app/: "How it works" (status, phases), "Webhooks" (their types, and
which answers let it go on).
"""

from __future__ import annotations

import structlog

from coppice import settings
from deploy.backends import base
from deploy.backends.kube import connect as kube
from deploy.backends.kube import pods
from deploy.backends.kube.backend import WorkloadBackend
from deploy.backends.kube.client import Object, Resource
from deploy.backends.kube.workload import DEPLOYMENTS, Place, Workload, table_of

CANARIES = Resource("flagger.app/v1beta1", "canaries")
APPLIED = f"{pods.PREFIX}/applied-before"
"""On the Canary: its `lastAppliedSpec` right before the pod template changed."""

_log = structlog.get_logger(__name__)


def connect(tree: settings.Settings) -> FlaggerBackend:
    """Open the Canary that the settings name.

    Raises
    ------
    ClusterProblem
        No cluster can be found.
    """
    parts = kube.connect(tree)
    place = Place(CANARIES, kube.workload(tree))
    workload = Workload(parts.client, place, holders=holders, notes=notes)
    return FlaggerBackend(parts, workload)


class FlaggerBackend(WorkloadBackend):
    """Route by a Canary, its target and its primary."""

    def steer(self, action: base.Steering) -> None:
        """Do nothing: Flagger obeys the answers of our hooks; see `base.Backend.steer`."""

    async def _observe(self) -> base.RouteState:
        canary, _, tool = await self._read()
        return base.RouteState(table_of(canary), tool)

    async def _named(self) -> base.RouteState:
        _, target, tool = await self._read()
        return base.RouteState(pods.decode(target) if target else None, tool)

    async def _read(self) -> tuple[Object, str, base.Tool]:
        """Return the Canary, what its target's pod template says, and how far Flagger is."""
        canary = await self._workload.read()
        target, primary = await self._workload.templates(canary)
        return canary, target, tool_of(canary, target, primary)

    async def _give_up(self, owner: Object, candidate: str, reason: str) -> None:
        """Say so in the log alone: our hooks tell Flagger to move the traffic back."""
        del owner
        _log.warning("flagger_aborted", candidate=candidate, reason=reason)


def holders(canary: Object) -> tuple[Place, ...]:
    """Return the Deployments of a Canary: the target, which holds the template, and the primary."""
    name = canary["spec"]["targetRef"]["name"]
    return Place(DEPLOYMENTS, name), Place(DEPLOYMENTS, f"{name}-primary")


def notes(canary: Object) -> dict[str, str]:
    """Return what has to be remembered of the status before the template changes."""
    return {APPLIED: _applied(canary)}


def tool_of(canary: Object, target: str, primary: str) -> base.Tool:
    """Read out of a Canary how far Flagger is.

    Parameters
    ----------
    canary
        The Canary.
    target, primary
        What the pod templates of its two Deployments say.
    """
    status = canary.get("status", {})
    phase = status.get("phase", "")
    message = "; ".join(str(found.get("message", "")) for found in status.get("conditions", []))
    noted = canary["metadata"].get("annotations", {}).get(APPLIED, "")
    if phase in {"Succeeded", "Initialized"} and target == primary:
        return base.Tool("promoted", 1.0, message)
    if _applied(canary) == noted:
        return base.Tool("progressing", 0.0, message)
    if phase == "Failed":
        return base.Tool("aborted", 0.0, message or "no reason was given")
    # The primary serves the new version by then, and has all traffic again.
    weight = 1.0 if phase == "Finalising" else float(status.get("canaryWeight", 0)) / 100.0
    return base.Tool("progressing", weight, message)


def _applied(canary: Object) -> str:
    return str(canary.get("status", {}).get("lastAppliedSpec", ""))
