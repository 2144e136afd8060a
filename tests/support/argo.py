"""A scripted Argo Rollouts: what its controller makes of a Rollout, one reconciliation at a time.

It follows the documented behaviour as far as our backend depends on it: revisions by pod template,
steps with weights, pauses and analyses, aborts that send everything back to the stable revision
while the spec still wants the other, promotion, and the status that it all shows. A revision that
is the stable one again needs no steps. It is no proof of what the real controller does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from deploy.backends.kube import pods
from tests.support.kube_server import Cluster
from tests.support.kube_store import Key

Analysis = Callable[[], str]
"""Asked for a verdict: `promote`, `rollback` or `undecided`."""


class Argo:
    """Reconcile one Rollout.

    Parameters
    ----------
    cluster
        Where it lies.
    name
        Of the Rollout.
    ask
        What an analysis step asks.
    """

    def __init__(
        self, cluster: Cluster, name: str, ask: Analysis, namespace: str = "default"
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._key = Key("argoproj.io/v1alpha1", "rollouts", namespace, name)
        self._ask = ask

    def rollout(self) -> dict[str, Any]:
        return self._cluster.store.get(self._key)

    def reconcile(self, times: int = 1) -> dict[str, Any]:
        """Take so many looks at the Rollout; return its status after the last."""
        for _ in range(times):
            rollout = self.rollout()
            status = self._next(rollout, dict(rollout.get("status", {})))
            status["observedGeneration"] = str(rollout["metadata"]["generation"])
            self._cluster.store.update(
                self._key, lambda now, status=status: {**now, "status": status}, "status"
            )
            self._keep_pods(rollout, status)
        found: dict[str, Any] = self.rollout()["status"]
        return found

    def fail(self, message: str) -> None:
        """Let an analysis of somebody else's fail."""
        status = {**self.rollout().get("status", {}), "abort": True, "message": message}
        self._cluster.store.update(self._key, lambda now: {**now, "status": status}, "status")

    def _next(self, rollout: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        wanted = template_hash(rollout)
        steps = rollout["spec"]["strategy"]["canary"].get("steps", [])
        if status.get("stableRS") in {None, wanted}:
            return _settled(wanted, len(steps))
        if status.get("currentPodHash") != wanted:
            # A new revision: an earlier abort is forgotten.
            status = {"stableRS": status["stableRS"], "currentPodHash": wanted}
            status["currentStepIndex"] = 0
        if status.get("abort"):
            message = status.get("message") or "RolloutAborted: Rollout aborted update"
            return {**status, "phase": "Degraded", "message": message, **_weights(0)}
        if status.get("promoteFull"):
            return _settled(wanted, len(steps))
        if rollout["spec"].get("paused"):
            return {**status, "phase": "Paused", "message": "manually paused"}
        return self._take_step(wanted, steps, status)

    def _take_step(
        self, wanted: str, steps: list[dict[str, Any]], status: dict[str, Any]
    ) -> dict[str, Any]:
        index = status.get("currentStepIndex", 0)
        running = {**status, "phase": "Progressing", "message": "more replicas need to be updated"}
        if index >= len(steps):
            return _settled(wanted, len(steps))
        step = steps[index]
        if "setWeight" in step:
            return {**running, "currentStepIndex": index + 1, **_weights(step["setWeight"])}
        if "pause" in step:
            if status.get("phase") == "Paused" and not status.get("pauseConditions"):
                return {**running, "currentStepIndex": index + 1}
            condition = {"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}
            return {**running, "phase": "Paused", "pauseConditions": [condition]}
        match self._ask():
            case "promote":
                return {**running, "currentStepIndex": index + 1}
            case "rollback":
                message = 'RolloutAborted: metric "model-verdict" assessed Failed'
                return {
                    **running, "abort": True, "phase": "Degraded", "message": message, **_weights(0)
                }  # fmt: skip
            case _:
                return running

    def _keep_pods(self, rollout: dict[str, Any], status: dict[str, Any]) -> None:
        """Have one pod of each revision that serves."""
        wanted = {f"digits-{status['stableRS']}"}
        if status.get("phase") in {"Progressing", "Paused"}:
            wanted.add(f"digits-{status['currentPodHash']}")
        there = {
            pod["metadata"]["name"]
            for pod in self._cluster.store.list("v1", "pods", self._namespace)
        }
        for name in there - wanted:
            self._cluster.store.delete(Key("v1", "pods", self._namespace, name))
        template = rollout["spec"]["template"]["metadata"]
        for name in wanted - there:
            # Pods of older revisions were made when theirs was the template.
            metadata = {"name": name, **json.loads(json.dumps(template))}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
            self._cluster.add(pod, self._namespace)


def template_hash(rollout: dict[str, Any]) -> str:
    """Tell pod templates apart, as the label `rollouts-pod-template-hash` does."""
    template = json.dumps(rollout["spec"]["template"], sort_keys=True)
    return hashlib.sha256(template.encode()).hexdigest()[:10]


def told(cluster: Cluster) -> dict[str, str]:
    """Return by pod what it answers with."""
    return {
        pod["metadata"]["name"]: str(
            pods.answering(pod["metadata"].get("annotations", {}).get(pods.ROUTING, ""))
        )
        for pod in cluster.store.list("v1", "pods", "default")
    }


def _settled(revision: str, steps: int) -> dict[str, Any]:
    return {
        "phase": "Healthy",
        "stableRS": revision,
        "currentPodHash": revision,
        "currentStepIndex": steps,
        **_weights(0),
    }


def _weights(canary: int) -> dict[str, Any]:
    weights = {"canary": {"weight": canary}, "stable": {"weight": 100 - canary}}
    return {"canary": {"weights": weights}}
