"""What a version costs to hold and to run, beside its dense parent, and when the pruning pays.

Parameters and multiply-accumulates come from the network; everything else is measured on the graph
that serves, in the runtime that serves. Times are taken in turn with the dense parent, so a slow
moment of the machine hits both. Prices count one core for as long as one prediction takes alone;
answering in batches is cheaper, which the throughput shows.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import numpy as np
from torch import nn

from coppice import clock, project, runtime
from retrain.evaluate import energy, evaluation, footprint, latency, section
from retrain.pruning import schedule

BATCH = 32
"""Rows of the larger batch; the smaller one is a single row."""
SLOWEST = 0.5
"""Seconds of one run beyond which a batch is not raced: it would take minutes."""
MILLION = 1_000_000
PRUNING = ("prune", "recover", "null control")
"""Phases that the pruning costs beyond having a dense parent."""
SYSTEM_CLOCK = clock.SystemClock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Everything that one column costs; `None` is what was not or cannot be measured.

    Attributes
    ----------
    parameters, macs
        Of the network; multiply-accumulates for one row.
    weight_bytes, graph_bytes
        Size of the weights in memory, and of the ONNX file.
    memory_bytes
        Growth of a process that loads the graph and answers one batch of `BATCH`.
    single, batch
        Raced against the dense parent, a row at a time and `BATCH` at a time.
    seconds
        Median of one prediction alone.
    batch_seconds
        Median of one batch.
    joules
        Of one prediction alone.
    """

    parameters: int | None = None
    macs: int | None = None
    weight_bytes: int | None = None
    graph_bytes: int | None = None
    memory_bytes: int | None = None
    single: latency.Latency | None = None
    batch: latency.Latency | None = None
    seconds: float | None = None
    batch_seconds: float | None = None
    joules: float | None = None

    @property
    def throughput(self) -> float | None:
        """Rows answered in a second, in batches."""
        return BATCH / self.batch_seconds if self.batch_seconds else None


Costs: TypeAlias = dict[evaluation.Column, Cost]


def measure(subject: section.Subject) -> section.Section:
    """Measure every column, and say what the pruning saves."""
    found = costs(subject, energy.counters(), timer=SYSTEM_CLOCK)
    price = subject.own.settings.inspect.price_per_core_hour
    spent = sum(subject.seconds.get(phase, 0.0) for phase in PRUNING)
    return section.Section(
        name="cost",
        title="Cost",
        status="measured",
        sentence=" ".join(sentences(found, price=price, spent=spent)),
        figures=figures(found, price=price, spent=spent),
        tables=tuple(_tables(found, price)),
    )


def costs(
    subject: section.Subject, packages: tuple[energy.Counter, ...], *, timer: clock.Clock
) -> Costs:
    """Measure each column that there is a network or a graph of.

    Parameters
    ----------
    packages
        Energy counters of this machine.
    timer
        Its `monotonic` times the graphs.
    """
    split = subject.data.holdout
    found: Costs = {name: _network(model, split) for name, model in subject.models.items()}
    one = split.take(np.arange(1)).inputs
    sessions: dict[evaluation.Column, runtime.Graph] = {
        name: runtime.load(packed) for name, packed in subject.graphs.items()
    }
    for name, session in sessions.items():
        found[name] = dataclasses.replace(
            found.get(name, Cost()),
            graph_bytes=subject.graphs[name].path.stat().st_size,
            memory_bytes=footprint.measure(subject.graphs[name], _batch(split).inputs),
            joules=energy.joules(functools.partial(session.run, one), packages, timer=timer),
        )
    return _timed(found, sessions, subject, timer)


def _network(model: nn.Module, split: project.Split) -> Cost:
    counted = schedule.cost(model, split)
    tensors = model.state_dict().values()
    return Cost(
        parameters=counted.parameters,
        macs=counted.macs,
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )


def _batch(split: project.Split) -> project.Split:
    """Return real rows, repeated where there are fewer than a batch."""
    return split.take(np.arange(BATCH) % split.rows)


def _timed(
    found: Costs,
    sessions: Mapping[evaluation.Column, runtime.Graph],
    subject: section.Subject,
    timer: clock.Clock,
) -> Costs:
    parent = sessions.get("parent")
    if parent is None:
        return found
    timed = dict(found)
    for name, session in sessions.items():
        if name == "parent":
            continue
        single, batch = (
            _race(parent, session, part.inputs, subject.rules.confidence, timer)
            for part in (subject.data.holdout.take(np.arange(1)), _batch(subject.data.holdout))
        )
        timed[name] = _with_times(timed[name], single, batch)
        if name == "candidate":
            timed["parent"] = dataclasses.replace(
                timed["parent"],
                seconds=single.parent_seconds if single else None,
                batch_seconds=batch.parent_seconds if batch else None,
            )
    return timed


def _with_times(known: Cost, single: latency.Latency | None, batch: latency.Latency | None) -> Cost:
    return dataclasses.replace(
        known,
        single=single,
        batch=batch,
        seconds=single.candidate_seconds if single else None,
        batch_seconds=batch.candidate_seconds if batch else None,
    )


def _race(
    parent: runtime.Graph,
    other: runtime.Graph,
    inputs: Mapping[str, project.Array],
    confidence: float,
    timer: clock.Clock,
) -> latency.Latency | None:
    for session in (parent, other):
        session.run(inputs)
        start = timer.monotonic()
        session.run(inputs)
        if timer.monotonic() - start > SLOWEST:
            return None
    return latency.race(parent, other, inputs, timer=timer, confidence=confidence)


def price_per_million(seconds: float | None, price: float) -> float | None:
    """Return what a million predictions cost, one core each; `None` without time or price.

    >>> price_per_million(0.0036, 0.05)  # a million of them take one core for an hour
    0.05
    """
    if seconds is None or price <= 0.0:
        return None
    return seconds * MILLION / 3600.0 * price


def payback(spent: float, single: latency.Latency | None) -> float | None:
    """Return after how many predictions the pruning has saved the time that it took.

    `None` where no time was told, or where the candidate is not shown to be faster.

    >>> faster = latency.Latency(parent_seconds=0.003, candidate_seconds=0.001, gain=3.0, low=2.0,
    ...     high=4.0)
    >>> round(payback(60.0, faster))
    30000
    """
    if single is None or spent <= 0.0 or single.low <= 1.0:
        return None
    return spent / (single.parent_seconds - single.candidate_seconds)


def figures(found: Costs, *, price: float, spent: float) -> dict[str, section.Figure]:
    """Return the candidate's figures, and how they stand to the dense parent's."""
    candidate, parent = found.get("candidate", Cost()), found.get("parent", Cost())
    whole = {
        "parameters": _plain(candidate.parameters),
        "macs": _plain(candidate.macs),
        "weight_bytes": _plain(candidate.weight_bytes, "bytes"),
        "graph_bytes": _plain(candidate.graph_bytes, "bytes"),
        "memory_bytes": _plain(candidate.memory_bytes, "bytes"),
        "parameters_ratio": _ratio(parent.parameters, candidate.parameters),
        "macs_ratio": _ratio(parent.macs, candidate.macs),
        "graph_ratio": _ratio(parent.graph_bytes, candidate.graph_bytes),
        "memory_ratio": _ratio(parent.memory_bytes, candidate.memory_bytes),
        "latency_seconds": _plain(candidate.seconds, "s"),
        "latency_gain": _gain(candidate.single),
        "batch_latency_seconds": _plain(candidate.batch_seconds, "s"),
        "batch_latency_gain": _gain(candidate.batch),
        "throughput": _plain(candidate.throughput, "rows/s", better="higher"),
        "joules_per_million": _plain(_times_million(candidate.joules), "J"),
        "price_per_million": _plain(price_per_million(candidate.seconds, price)),
        "parent_price_per_million": _plain(price_per_million(parent.seconds, price)),
        "pruning_seconds": _plain(spent or None, "s"),
        "payback_predictions": _plain(payback(spent, candidate.single)),
    }
    return {name: figure for name, figure in whole.items() if figure is not None}


def _times_million(value: float | None) -> float | None:
    return None if value is None else value * MILLION


def _plain(
    value: float | None, unit: str = "", *, better: Literal["higher", "lower"] = "lower"
) -> section.Figure | None:
    return None if value is None else section.Figure(value=float(value), unit=unit, better=better)


def _ratio(parent: float | None, candidate: float | None) -> section.Figure | None:
    if parent is None or not candidate:
        return None
    return section.Figure(value=parent / candidate, unit="times", better="higher")


def _gain(raced: latency.Latency | None) -> section.Figure | None:
    if raced is None:
        return None
    return section.Figure(
        value=raced.gain, low=raced.low, high=raced.high, unit="times", better="higher"
    )


def sentences(found: Costs, *, price: float, spent: float) -> Iterator[str]:
    """Say what a manager should know."""
    candidate, parent = found.get("candidate", Cost()), found.get("parent", Cost())
    single = candidate.single
    if single is not None:
        if single.low > 1.0:
            yield f"One prediction takes {_milli(candidate.seconds)}, {single.gain:.2f} times less."
        else:
            yield f"One prediction takes {_milli(candidate.seconds)}, not shown to be less."
    if parent.parameters and candidate.parameters and candidate.parameters < parent.parameters:
        yield f"It has {parent.parameters / candidate.parameters:.1f} times fewer parameters."
    after = payback(spent, single)
    if after is not None:
        yield f"The {spent:.0f} s of the pruning are paid back after {after:,.0f} predictions."
    before, now = (price_per_million(each.seconds, price) for each in (parent, candidate))
    if before is not None and now is not None:
        yield f"A million predictions cost {now:.4g} instead of {before:.4g}."
    if candidate.joules is None:
        yield "Energy was not measured: this machine shows no counters."


def _milli(seconds: float | None) -> str:
    return "?" if seconds is None else f"{1000.0 * seconds:.3g} ms"


def _tables(found: Costs, price: float) -> Iterator[section.Table]:
    names = tuple(found)
    yield section.Table(
        title="Cost by column",
        columns=("what", *names),
        rows=tuple((what, *values) for what, values in _lines(found, price)),
    )


def _lines(found: Costs, price: float) -> Iterator[tuple[str, tuple[section.Cell, ...]]]:
    each = list(found.values())
    yield "parameters", tuple(one.parameters for one in each)
    yield "multiply-accumulates for a row", tuple(one.macs for one in each)
    yield "weights, bytes", tuple(one.weight_bytes for one in each)
    yield "ONNX file, bytes", tuple(one.graph_bytes for one in each)
    yield f"memory to load and answer {BATCH} rows, bytes", tuple(one.memory_bytes for one in each)
    yield "one row, ms", tuple(_rounded(one.seconds, 1000.0) for one in each)
    yield f"{BATCH} rows, ms", tuple(_rounded(one.batch_seconds, 1000.0) for one in each)
    yield "rows a second, in batches", tuple(_rounded(one.throughput) for one in each)
    yield "joules for a million rows", tuple(_rounded(one.joules, MILLION) for one in each)
    prices = [price_per_million(one.seconds, price) for one in each]
    yield "price of a million predictions", tuple(_rounded(one) for one in prices)


def _rounded(value: float | None, times: float = 1.0) -> float | None:
    return None if value is None else float(f"{value * times:.4g}")
