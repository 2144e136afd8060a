"""The public surface as its users type it: checked by mypy and pyright, never run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coppice import artifact, labels, project, records, routing, runtime, settings, testing
from coppice.eventlog import base as eventlog_base
from coppice.eventlog import open_log
from coppice.registry import base as registry_base
from coppice.registry import open_registry
from monitoring import evidence


def a_project_returns_its_data() -> project.Data:
    split = project.Split(
        inputs={"x": np.zeros((4, 2), dtype=np.float32)},
        targets=np.array([0, 1, 0, 1]),
        slices={"site": np.array(["a", "a", "b", "b"])},
    )
    return project.Data(train=split, validation=split, holdout=split, classes=("no", "yes"))


def a_log_is_written_and_read() -> list[records.Event]:
    tree: settings.Settings = settings.load(Path())
    log: eventlog_base.EventLog = open_log(tree)
    feedback = records.Feedback(request_id="r", model="m", labels=(1,), labelled_at=0.0)
    log.append([records.seal(feedback, source="mine", now=testing.ManualClock().now())])
    batch: eventlog_base.Batch = log.read(eventlog_base.START)
    return batch.events


def a_version_answers() -> runtime.Answers:
    registry: registry_base.Registry = open_registry(settings.load(Path()))
    folder: Path = registry.path("m:champion")
    manifest: artifact.Manifest = artifact.verify(folder)
    inputs = {spec.name: np.zeros((1, *spec.shape), np.float32) for spec in manifest.inputs}
    return runtime.Runtime(folder, threads=1).predict(inputs)


def a_candidate_is_decided(outcomes: list[float]) -> evidence.DecisionKind:
    state: evidence.PairedState = evidence.PairedState(evidence.Margins(promote=0.02))
    return evidence.decide(state.extend(outcomes), pending=[1.0]).kind


def a_table_is_written(path: Path) -> None:
    routing.save(path, routing.RoutingTable(model="m", champion="m:1", weight=0.0))
    table: routing.RoutingTable | None = routing.load(path)
    del table


SCORES: labels.Floats = labels.scores(np.zeros((1, 2)), np.zeros(1), task="binary")
