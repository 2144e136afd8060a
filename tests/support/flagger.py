"""A scripted Flagger: what its controller makes of a Canary, one look at a time.

It follows the documented behaviour as far as our backend depends on it: a primary, trials
by pod template, hooks that are asked before each move, phases and the status that shows them. It is
no proof of what the real controller does.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.kube_server import Cluster
from tests.support.kube_store import Key, Refused

Hook = Callable[[], bool]
"""Whether the hook is answered with 200."""
HOOKS = ("confirm-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "rollback")


class Flagger:
    """Reconcile one Canary.

    Parameters
    ----------
    cluster
        Where it lies.
    name
        Of the Canary and of its target Deployment.
    hooks
        By type; those that are missing are not configured.
    """

    def __init__(self, cluster: Cluster, name: str, hooks: Mapping[str, Hook]) -> None:
        self._cluster = cluster
        self._name = name
        self._hooks = hooks
        self._key = Key("flagger.app/v1beta1", "canaries", "default", name)
        self._target = Key("apps/v1", "deployments", "default", name)
        self._primary = self._target._replace(name=f"{name}-primary")

    def canary(self) -> dict[str, Any]:
        return self._cluster.store.get(self._key)

    def reconcile(self, times: int = 1) -> dict[str, Any]:
        """Take so many looks at the Canary; return its status after the last."""
        for _ in range(times):
            canary = self.canary()
            status = self._next(canary, dict(canary.get("status", {})))
            self._cluster.store.update(
                self._key, lambda now, status=status: {**now, "status": status}, "status"
            )
            self._keep_pods(status["phase"])
        found: dict[str, Any] = self.canary()["status"]
        return found

    def fail(self, message: str) -> None:
        """Let a metric of somebody else's reach its threshold."""
        status = self._failed(self.canary()["status"], message)
        self._cluster.store.update(self._key, lambda now: {**now, "status": status}, "status")

    def _next(self, canary: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        wanted = template_hash(self._cluster.store.get(self._target))
        analysis = canary["spec"]["analysis"]
        match status.get("phase", ""):
            case "":
                self._promote()
                return {
                    "phase": "Initialized",
                    "lastAppliedSpec": wanted,
                    "lastPromotedSpec": wanted,
                }
            case "Promoting":
                return {**status, "phase": "Finalising", "canaryWeight": 0}
            case "Finalising":
                done = {"phase": "Succeeded", "lastPromotedSpec": status["lastAppliedSpec"]}
                return {**status, **done}
            case "Progressing" | "Waiting" | "WaitingPromotion" if self._asks(
                "rollback", otherwise=False
            ):
                return self._failed(status, "Rolling back, manual webhook invoked")
            case phase:
                # What was promoted last begins no trial, nor does what is on trial already.
                known = {status["lastAppliedSpec"], status["lastPromotedSpec"]}
                if wanted not in known or phase == "Waiting":
                    return self._begin(status, wanted)
                return self._advance(status, analysis) if phase in RUNNING else status

    def _begin(self, status: dict[str, Any], wanted: str) -> dict[str, Any]:
        if not self._asks("confirm-rollout", otherwise=True):
            return {**status, "phase": "Waiting"}
        begun = {"phase": "Progressing", "canaryWeight": 0, "failedChecks": 0}
        return {**status, **begun, "lastAppliedSpec": wanted, "conditions": []}

    def _advance(self, status: dict[str, Any], analysis: dict[str, Any]) -> dict[str, Any]:
        if not self._asks("rollout", otherwise=True):
            failed = status["failedChecks"] + 1
            if failed >= analysis["threshold"]:
                return self._failed(status, "Canary analysis failed, Deployment scaled to zero.")
            return {**status, "failedChecks": failed}
        if status["canaryWeight"] < analysis["maxWeight"]:
            if not self._asks("confirm-traffic-increase", otherwise=True):
                return status
            return {**status, "canaryWeight": status["canaryWeight"] + analysis["stepWeight"]}
        if not self._asks("confirm-promotion", otherwise=True):
            return {**status, "phase": "WaitingPromotion"}
        self._promote()
        return {**status, "phase": "Promoting"}

    def _failed(self, status: dict[str, Any], message: str) -> dict[str, Any]:
        condition = {"type": "Promoted", "status": "False", "reason": "Failed", "message": message}
        return {**status, "phase": "Failed", "canaryWeight": 0, "conditions": [condition]}

    def _asks(self, hook: str, *, otherwise: bool) -> bool:
        return self._hooks[hook]() if hook in self._hooks else otherwise

    def _promote(self) -> None:
        """Copy the target to the primary, as Flagger does: with a label and a mark of its own."""
        spec = copy.deepcopy(self._cluster.store.get(self._target)["spec"])
        name = self._primary.name
        spec["selector"]["matchLabels"]["app"] = name
        spec["template"]["metadata"]["labels"]["app"] = name
        spec["template"]["metadata"].setdefault("annotations", {})["flagger-id"] = "x"
        try:
            self._cluster.store.update(self._primary, lambda now: {**now, "spec": spec})
        except Refused:
            metadata = {"name": name}
            self._cluster.add(
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
            )

    def _keep_pods(self, phase: str) -> None:
        """Have one pod of the primary, and one of the target while it is on trial."""
        wanted = {}
        for key in (self._primary, self._target):
            template = self._cluster.store.get(key)["spec"]["template"]
            if key == self._primary or phase in {*RUNNING, "Promoting", "Finalising"}:
                name = f"{key.name}-{_hash(template)}"
                wanted[name] = {**copy.deepcopy(template["metadata"]), "name": name}
        there = {
            pod["metadata"]["name"] for pod in self._cluster.store.list("v1", "pods", "default")
        }
        for name in there - set(wanted):
            self._cluster.store.delete(Key("v1", "pods", "default", name))
        for name in set(wanted) - there:
            self._cluster.add({"apiVersion": "v1", "kind": "Pod", "metadata": wanted[name]})


RUNNING = ("Progressing", "WaitingPromotion")


def template_hash(deployment: dict[str, Any]) -> str:
    """Tell the pod templates of a target apart, as `lastAppliedSpec` does."""
    return _hash(deployment["spec"]["template"])


def _hash(template: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
