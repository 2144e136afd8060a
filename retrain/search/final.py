"""What was chosen measured again: the trained graph as it will serve, beside the dense model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from torch import nn

from retrain import choosing, onnx_export, packing, program, timing
from retrain.evaluate import latency
from retrain.pruning import schedule
from retrain.search import gauge, subject, terms


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """What the chosen model costs, with its trained weights."""

    cost: gauge.Cost
    """In the target's own unit."""
    macs_ratio: float
    """Multiply-accumulates of the dense model over those that are left."""
    runtime: latency.Latency
    """Against the dense model's plain graph."""
    eager: latency.Latency
    """Against the dense model as torch runs it, operation by operation."""
    bytes: int
    """Of the graph that serves."""
    packing: packing.Packing
    """What may serve it, and what does."""


def measure(of: subject.Subject, on: terms.Terms, wish: choosing.Wish, model: nn.Module) -> Final:
    """Measure a trained, pruned model.

    Parameters
    ----------
    wish
        What may serve it: an int8 graph is timed only where it keeps the score, as when packed.

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
        counted = gauge.Prepared(schedule.cost(model, of.training), pruned)
        found = None if on.target == "latency" else _cost(of, on, counted)
        packed = choosing.choose(pruned, of.data, wish)
        taken = terms.Way(engine=packed.taken.engine, precision=packed.taken.precision)
        program.save(of.model, of.training, eager, task=of.task)
        raced = timing.race(
            [
                on.contestant("dense", dense),
                on.contestant("pruned", pruned, taken),
                timing.Contestant(
                    name="eager", path=str(eager), engine="torch", threads=on.threads
                ),
            ],
            of.validation.inputs,
            rows=on.batch,
        )
        timed = timing.gain(raced, "dense", "pruned", clock=on.clock)
        macs = schedule.cost(of.model, of.training).macs
        return Final(
            cost=found or gauge.of_time(counted.counted, timed, taken.name),
            macs_ratio=macs / counted.counted.macs,
            runtime=timed,
            eager=timing.gain(raced, "eager", "pruned", clock=on.clock),
            bytes=pruned.stat().st_size,
            packing=packed,
        )


def _cost(of: subject.Subject, on: terms.Terms, prepared: gauge.Prepared) -> gauge.Cost:
    with gauge.Gauge(of, on) as measuring:
        return measuring.measure(prepared)
