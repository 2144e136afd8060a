"""Recurrent layers: what stands for them while tracing, and their hidden units as one group.

A hidden unit of one layer and direction owns its row in all gates of `weight_ih`, `weight_hh` and
both biases, its column of `weight_hh`, its column of the next layer's `weight_ih` (in both of its
directions), and whatever reads it in the outputs or the last states. All layers and directions of a
torch layer have one `hidden_size`: which units go may differ between those runs, how many may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.utils import rnn

from retrain.pruning import groups, layers, rewriting, standins, surgery

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
"""Runs of rows in the weights of each kind of layer."""
CELL_GATES = ((nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1))


class Layer(standins.StandIn):
    """Stands for nn.LSTM, nn.GRU or nn.RNN: a linear layer for each layer and direction."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__(real)
        assert isinstance(real, nn.RNNBase)
        width = real.proj_size or real.hidden_size
        self.directions = 2 if real.bidirectional else 1
        reads = [real.input_size, *[self.directions * width] * (real.num_layers - 1)]
        self.runs = nn.ModuleList(
            standins.linear(size, width, cast("torch.Tensor", real.weight_hh_l0))
            for size in reads
            for _ in range(self.directions)
        )

    def parts(self) -> Iterator[standins.Part]:
        """Yield a part for each layer and direction, in the order of torch's states."""
        real = cast("nn.RNNBase", self.held[0])
        for place, run in enumerate(self.runs):
            depth, backward = divmod(place, self.directions)
            name = f"_l{depth}{'_reverse' if backward else ''}"
            into = layers.Loss(
                (layers.Slot(f"weight_ih{name}", 1),), () if depth else ("input_size",)
            )
            out = _units(name, GATES[real.mode]) if not real.proj_size else _PROJECTED
            yield standins.Part(cast("nn.Linear", run), out, into, "hidden_size")

    def forward(self, values: Any, states: Any = None) -> Any:
        """Give outputs and last states in the shapes of the real layer."""
        real = cast("nn.RNNBase", self.held[0])
        packed = values if isinstance(values, rnn.PackedSequence) else None
        steps: Any = values if packed is None else packed.data
        if real.proj_size and states is not None:
            # The cell states have another width; what they feed stays whole anyway.
            states = states[0]
        flat = packed is not None or steps.ndim == 2
        time = 0 if flat or not real.batch_first else 1
        hidden = []
        for place in range(0, len(self.runs), self.directions):
            gives = [
                torch.tanh(run(steps) + _given(states, place + turn, time, flat=flat))
                for turn, run in enumerate(list(self.runs)[place : place + self.directions])
            ]
            hidden += [_last(one, time, packed) for one in gives]
            steps = torch.cat(gives, dim=-1) if len(gives) > 1 else gives[0]
        outputs = steps if packed is None else packed._replace(data=steps)
        last = rewriting.stacked(hidden)
        if real.mode != "LSTM":
            return outputs, last
        if real.proj_size:
            return outputs, (last, last.new_zeros(*last.shape[:-1], real.hidden_size))
        return outputs, (last, rewriting.stacked(one * 1.0 for one in hidden))


def _units(name: str, gates: int) -> layers.Loss:
    slots = (
        layers.Slot(f"weight_ih{name}", 0, copies=gates),
        layers.Slot(f"weight_hh{name}", 0, copies=gates),
        layers.Slot(f"weight_hh{name}", 1),
        layers.Slot(f"bias_ih{name}", 0, copies=gates),
        layers.Slot(f"bias_hh{name}", 0, copies=gates),
    )
    return layers.Loss(slots, ())


_PROJECTED = "an LSTM with projections (proj_size) cannot be cut; build it with proj_size=0"


def _given(states: Any, place: int, time: int, *, flat: bool) -> torch.Tensor | float:
    """Return what the states that a layer was given add to each step of one run."""
    if states is None:
        return 0.0
    each = states if isinstance(states, tuple) else (states,)
    added: Any = sum(state[place] for state in each)
    # Of packed rows the first ones stand for all: only the channels matter.
    return cast("torch.Tensor", added[:1] if flat and added.ndim == 2 else added.unsqueeze(time))


def _last(steps: torch.Tensor, time: int, packed: rnn.PackedSequence | None) -> torch.Tensor:
    if packed is not None:
        return steps.index_select(0, torch.arange(int(packed.batch_sizes[0])))
    return steps.select(time, -1)


class Cell(standins.StandIn):
    """Stands for nn.LSTMCell, nn.GRUCell or nn.RNNCell."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__(real)
        assert isinstance(real, nn.RNNCellBase)
        self.run = standins.linear(real.input_size, real.hidden_size, real.weight_hh)

    def parts(self) -> Iterator[standins.Part]:
        """Yield the one part."""
        gates = next(gates for kind, gates in CELL_GATES if isinstance(self.held[0], kind))
        out = _units("", gates)
        into = layers.Loss((layers.Slot("weight_ih", 1),), ("input_size",))
        yield standins.Part(self.run, out, into, "hidden_size")

    def forward(self, values: torch.Tensor, states: Any = None) -> Any:
        """Give the next state, or states, in the shapes of the real cell."""
        each = () if states is None else states if isinstance(states, tuple) else (states,)
        read: torch.Tensor = self.run(values)
        state = torch.tanh(read + sum(each))
        return (state, state * 1.0) if isinstance(self.held[0], nn.LSTMCell) else state


STAND_INS: standins.Kinds = (((nn.RNNBase,), Layer), ((nn.RNNCellBase,), Cell))


class Run(NamedTuple):
    """Channels of a layer of which as many must stay as of its other runs.

    Attributes
    ----------
    layer, counted
        The real layer, and the attribute that counts the channels of each of its runs.
    owners
        For each channel the unit that owns it.
    """

    layer: str
    counted: str
    owners: tuple[int, ...]


class Piece(NamedTuple):
    """A group as it was traced, and the runs that its units make up."""

    group: groups.CoupledGroup
    runs: tuple[Run, ...] = ()


class Stuck(NamedTuple):
    """A layer that has to stay whole, and the layers with runs that stay whole with it."""

    whole: surgery.Whole
    layers: frozenset[str] = frozenset()


def join(
    pieces: Sequence[Piece], stuck: Sequence[Stuck]
) -> tuple[tuple[groups.CoupledGroup, ...], tuple[surgery.Whole, ...]]:
    """Join the groups that hold runs of one layer into one group each.

    A layer of which one run has to stay whole stays whole, because its runs share one count.
    """
    sets = _together([{run.layer for run in piece.runs} for piece in pieces], stuck)
    found, whole = [], {each.whole.name: each.whole for each in stuck}
    for members in sets:
        own = [pieces[place] for place in members]
        if all(not piece.runs for piece in own):
            found += [piece.group for piece in own]
            continue
        tied = {run.layer for piece in own for run in piece.runs}
        reason = next((each.whole.reason for each in stuck if tied & each.layers), None)
        reason = reason or _unequal(own)
        name = next(run.layer for piece in own for run in piece.runs)
        if reason:
            whole.setdefault(name, surgery.Whole(name, reason))
        else:
            found.append(_joined(name, own))
    return tuple(found), tuple(whole.values())


def _together(tied: Sequence[set[str]], stuck: Sequence[Stuck]) -> list[list[int]]:
    """Return the places of pieces that share layers, also by way of what is stuck."""
    everything = [*tied, *(each.layers for each in stuck)]
    classes = [
        [place for place, names in enumerate(everything) if name in names]
        for name in sorted(set().union(*everything))
    ]
    sets: dict[int, list[int]] = {}
    for place, number in enumerate(groups.merged(classes, len(everything))[: len(tied)]):
        sets.setdefault(number, []).append(place)
    return list(sets.values())


def _unequal(pieces: Sequence[Piece]) -> str | None:
    """Say why the runs of these groups cannot be kept equal, if so."""
    for piece in pieces:
        if piece.group.width > 1:
            return "a grouped convolution ties the hidden units that it reads"
        for run in piece.runs:
            places = sorted(run.owners)
            first = max(places[0], 0)
            if places != list(range(first, first + len(places))):
                return f"the hidden units of {run.layer!r} are coupled across each other"
    return None


def _joined(name: str, pieces: Sequence[Piece]) -> groups.CoupledGroup:
    axes: list[groups.Axis] = []
    counts: dict[str, groups.Axis] = {}
    start, block, widths = 0, 0, []
    for piece in pieces:
        block = math.gcd(block, piece.group.units // piece.group.blocks)
        axes += [
            groups.Axis(axis.path, axis.dim, _shifted(axis.owners, start))
            for axis in piece.group.axes
        ]
        for run in piece.runs:
            widths.append(len(run.owners))
            block = math.gcd(block, min(run.owners), len(run.owners))
            path = f"{run.layer}.{run.counted}"
            counts.setdefault(path, groups.Axis(path, None, _shifted(run.owners, start)))
        start += piece.group.units
    return groups.CoupledGroup(
        name,
        start,
        (*axes, *counts.values()),
        blocks=start // block,
        runs=start // math.gcd(start, *widths),
    )


def _shifted(owners: Sequence[int], start: int) -> tuple[int, ...]:
    return tuple(unit if unit == groups.NOBODY else unit + start for unit in owners)
