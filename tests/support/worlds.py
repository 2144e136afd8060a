"""A small world whose traffic is written to an event log as the server would write it.

Inputs are four numbers; the truth is a linear rule over them that a test may change, and the
versions are real artifacts, so that whoever judges them can replay what they said.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coppice import records, runtime, testing
from coppice.registry import base
from coppice.settings import Settings
from monitoring import loop
from monitoring.recorder import Recorder
from tests.support import artifacts

MODEL = "tiny"
FAITHFUL = (1.0, 1.0, 1.0, 1.0)
"""Weights of "yes" that know the first truth: yes where the inputs' sum is positive."""


class World:
    """A project with a log, a registry and a clock, and traffic to fill them."""

    def __init__(
        self, folder: Path, registry: base.Registry | None = None, **sections: Any
    ) -> None:
        self.folder = folder
        self.log = testing.MemoryLog()
        self.registry = registry or testing.MemoryRegistry(folder / "registry")
        self.clock = testing.ManualClock()
        self.settings = Settings(root=folder, project={"name": MODEL, "task": "binary"}, **sections)
        self.truth = np.array(FAITHFUL)
        self.spread = np.ones(4)
        """Standard deviation of each input."""
        self.recorder = Recorder(MODEL)
        self._models: dict[str, runtime.Runtime] = {}
        self._numbers = itertools.count()
        self._random = np.random.default_rng(7)

    def version(self, *weights: float, accepted: float = 0.97, parent: str | None = None) -> str:
        """Put a version into the registry that says yes where the weighted sum is positive."""
        folder = self.folder / f"artifact-{next(self._numbers)}"
        weight = np.stack([np.zeros(4), np.array(weights)], axis=1)
        artifacts.linear_classifier(
            folder, name=MODEL, weight=weight, accepted=accepted, parent=parent
        )
        return self.registry.add(folder)

    def write(self, *found: records.Record) -> None:
        """Append records to the log, now."""
        now = self.clock.now()
        self.log.append([records.seal(each, source="test", now=now) for each in found])

    def rollout(self, champion: str, **fields: Any) -> None:
        """Tell who plays which part."""
        plain = {"stage": "idle", "outcome": "promoted", "reason": "test"}
        if "candidate" in fields:
            plain |= {"stage": "shadow", "outcome": "started"}
        self.write(records.Rollout(model=MODEL, champion=champion, **{**plain, **fields}))

    def serve(
        self,
        count: int,
        version: str,
        *,
        mirrors: Sequence[tuple[str, records.Role]] = (),
        labelled: bool = True,
        **fields: Any,
    ) -> list[str]:
        """Answer requests of one row each, mirror them, and label them; return their ids."""
        inputs = (self._random.standard_normal((count, 4)) * self.spread).astype(np.float32)
        answered = self._model(version).predict({"x": inputs})
        mirrored = [
            (other, role, self._model(other).predict({"x": inputs}).scores)
            for other, role in mirrors
        ]
        ids = [f"request-{next(self._numbers)}" for _ in range(count)]
        for row, request_id in enumerate(ids):
            self.write(self._prediction(request_id, version, inputs[[row]], answered, row, fields))
            for other, role, scores in mirrored:
                self.write(_shadow(request_id, other, role, version, scores[[row]], answered, row))
        if labelled:
            self.label(ids, inputs)
        self._inputs = dict(zip(ids, inputs, strict=True))
        return ids

    def label(self, ids: Sequence[str], inputs: Any = None) -> None:
        """Tell the truth about requests of the latest `serve`."""
        rows = np.array([self._inputs[each] for each in ids]) if inputs is None else inputs
        truth = (rows @ self.truth > 0).astype(int)
        for request_id, target in zip(ids, truth.tolist(), strict=True):
            self.write(
                records.Feedback(
                    request_id=request_id, model=MODEL, labels=(target,), labelled_at=0.0
                )
            )

    def monitor(self) -> loop.Monitor:
        """Start a monitor."""
        return loop.Monitor(self.log, self.registry, self.settings, self.clock, self.recorder)

    def settle(self, monitor: loop.Monitor, seconds: float = 60.0) -> None:
        """Let the monitor take turns until nothing is new; so many seconds pass with each."""
        while monitor.turn():
            self.clock.advance(seconds)

    def verdicts(self, scope: str) -> list[records.Verdict]:
        """Return the verdicts in the log, oldest first."""
        return [each for each in self.read(records.Verdict) if each.scope == scope]

    def read(self, kind: Any) -> list[Any]:
        """Return the records of one kind in the log, oldest first."""
        events = self.log.read("", 1_000_000).events
        return [records.unseal(each) for each in events if each.type == records.NAMES[kind]]

    def _model(self, version: str) -> runtime.Runtime:
        if version not in self._models:
            self._models[version] = runtime.Runtime(self.registry.path(version))
        return self._models[version]

    def _prediction(
        self,
        request_id: str,
        version: str,
        inputs: Any,
        answered: runtime.Answers,
        row: int,
        fields: dict[str, Any],
    ) -> records.Prediction:
        plain = {
            "request_id": request_id,
            "model": MODEL,
            "version": version,
            "lane": "stable",
            "propensity": 1.0,
            "key_hash": "k",
            "inputs": {"x": records.Tensor.of(inputs)},
            "features": records.Tensor.of(answered.features[[row]]),
            "outputs": {"scores": records.Tensor.of(answered.scores[[row]])},
            "latency_seconds": 0.001,
        }
        return records.Prediction(**{**plain, **fields})


def _shadow(
    request_id: str,
    version: str,
    role: records.Role,
    against: str,
    scores: Any,
    answered: runtime.Answers,
    row: int,
) -> records.Shadow:
    agrees = bool(scores[0].argmax() == answered.scores[row].argmax())
    return records.Shadow(
        request_id=request_id,
        model=MODEL,
        version=version,
        role=role,
        against=against,
        outputs={"scores": records.Tensor.of(scores)},
        agrees=(agrees,),
    )
