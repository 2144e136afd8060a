"""The chosen widths measured again: the trained graph itself, beside the dense model, both ways."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from torch import nn

from retrain import onnx_export, program, timing
from retrain.evaluate import latency
from retrain.pruning import schedule
from retrain.search import subject, table


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """What the chosen model costs, with its trained weights."""

    cost: table.Cost
    """In the target's own unit."""
    macs_ratio: float
    """Multiply-accumulates of the dense model over those that are left."""
    runtime: latency.Latency
    """Against the dense model in the same runtime."""
    eager: latency.Latency
    """Against the dense model as torch runs it, operation by operation."""
    bytes: int
    """Of its graph."""


def measure(of: subject.Subject, terms: table.Terms, model: nn.Module) -> Final:
    """Measure a trained, pruned model.

    Raises
    ------
    ArtifactError
        It cannot be exported, or its graph not be run.
    """
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        dense, pruned, eager = (
            Path(name) / file for file in ("dense.onnx", "pruned.onnx", "dense.pt2")
        )
        for each, path in ((of.model, dense), (model, pruned)):
            onnx_export.export(each, of.training, path, task=of.task)
        program.save(of.model, of.training, eager, task=of.task)
        found = timing.race(
            [
                terms.contestant("dense", dense),
                terms.contestant("pruned", pruned),
                timing.Contestant(
                    name="eager", path=str(eager), engine="torch", threads=terms.threads
                ),
            ],
            of.validation.inputs,
            rows=terms.batch,
        )
        runtime = timing.gain(found, "dense", "pruned", clock=terms.clock)
        return Final(
            cost=_cost(of, terms, model, pruned, runtime),
            macs_ratio=_macs(of.model, of) / _macs(model, of),
            runtime=runtime,
            eager=timing.gain(found, "eager", "pruned", clock=terms.clock),
            bytes=pruned.stat().st_size,
        )


def _macs(model: nn.Module, of: subject.Subject) -> int:
    return schedule.cost(model, of.training).macs


def _cost(
    of: subject.Subject,
    terms: table.Terms,
    model: nn.Module,
    graph: Path,
    timed: latency.Latency,
) -> table.Cost:
    counted = schedule.cost(model, of.training)
    if terms.target == "latency":
        return table.cost(counted, timed.parent_seconds, timed.candidate_seconds, timed)
    with table.Gauge(of, terms) as gauge:
        return gauge.measure(table.Prepared(counted, graph))
