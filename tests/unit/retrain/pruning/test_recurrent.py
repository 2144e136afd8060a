from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

from retrain.pruning import groups, neurons, recurrent, surgery, trial
from tests.support import architectures, sequences


def traced(architecture: architectures.Architecture) -> neurons.Coupling:
    return neurons.trace(architecture.model(), architecture.rows(2))


def group(coupling: neurons.Coupling, name: str) -> groups.CoupledGroup:
    return {found.name: found for found in coupling.groups}[name]


def owners(found: groups.CoupledGroup) -> dict[tuple[str, int | None], tuple[int, ...]]:
    return {(axis.path, axis.dim): axis.owners for axis in found.axes}


def columns(found: groups.CoupledGroup, path: str) -> tuple[int, ...]:
    """Return the owner of each column, over all that own some of them."""
    axes = [axis.owners for axis in found.axes if axis.path == path and axis.dim == 1]
    return tuple(max(each) for each in zip(*axes, strict=True))


def reasons(whole: tuple[surgery.Whole, ...]) -> dict[str, str]:
    return {each.name: each.reason for each in whole}


def test_a_hidden_unit_owns_its_row_in_all_gates_and_what_reads_it() -> None:
    found = group(traced(architectures.ARCHITECTURES["lstm"]), "cells")
    rows = tuple(range(24))
    # The four gates of an LSTM lie one after the other in each weight and bias.
    assert owners(found) == {
        ("cells.weight_ih_l0", 0): rows * 4,
        ("cells.weight_hh_l0", 0): rows * 4,
        ("cells.weight_hh_l0", 1): rows,
        ("cells.bias_ih_l0", 0): rows * 4,
        ("cells.bias_hh_l0", 0): rows * 4,
        ("cells.hidden_size", None): rows,
        ("head.weight", 1): rows,
        ("head.in_features", None): rows,
    }


def test_a_gru_has_three_gates() -> None:
    found = owners(group(traced(architectures.ARCHITECTURES["gru"]), "cells"))
    assert found["cells.weight_hh_l0", 0] == tuple(range(24)) * 3


def test_a_unit_of_the_lower_layer_owns_its_column_of_the_next() -> None:
    found = group(traced(architectures.ARCHITECTURES["lstm-2-layers"]), "cells")
    read, own = (owners(found)["cells.weight_ih_l1", 1], owners(found)["cells.weight_hh_l0", 1])
    assert read == own
    assert (found.units, found.blocks, found.runs) == (48, 2, 2)


def test_both_directions_of_a_layer_read_both_directions_of_the_one_below() -> None:
    found = group(traced(sequences.NETWORKS["states of both directions"]), "cells")
    below = owners(found)["cells.weight_hh_l0", 1] + owners(found)["cells.weight_hh_l0_reverse", 1]
    assert columns(found, "cells.weight_ih_l1") == below
    assert columns(found, "cells.weight_ih_l1_reverse") == below


def test_layers_and_directions_may_lose_different_units() -> None:
    found = group(traced(sequences.NETWORKS["states of both directions"]), "cells")
    # Two layers in two directions of 16 units, each unit on its own.
    assert (found.units, found.blocks, found.runs) == (64, 4, 4)
    assert len({unit for axis in found.axes for unit in axis.owners} - {groups.NOBODY}) == 64


def test_the_width_of_all_runs_is_counted_once() -> None:
    found = group(traced(sequences.NETWORKS["states of both directions"]), "cells")
    counts = [axis for axis in found.axes if axis.path == "cells.hidden_size"]
    assert [len(axis.owners) for axis in counts] == [16]


def test_a_direction_that_nothing_reads_shrinks_with_the_others() -> None:
    found = group(traced(sequences.NETWORKS["one direction only"]), "cells")
    assert found.units == 64
    assert ("cells.weight_hh_l1_reverse", 0) in owners(found)


def test_each_run_is_aligned_by_itself() -> None:
    found = group(traced(architectures.ARCHITECTURES["lstm-2-layers"]), "cells")
    kept = groups.kept_count(found.units, 0.4, align=8, blocks=found.blocks, runs=found.runs)
    # 14.4 of 24 in each layer is nearest to 16.
    assert kept == 2 * 16


def test_what_a_recurrent_layer_reads_can_be_cut() -> None:
    found = owners(group(traced(architectures.ARCHITECTURES["bi-lstm"]), "embed"))
    channels = tuple(range(16))
    assert found["cells.weight_ih_l0", 1] == channels
    assert found["cells.weight_ih_l0_reverse", 1] == channels
    assert found["cells.input_size", None] == channels


def test_a_shortcut_ties_the_hidden_units_of_layers_to_what_they_read() -> None:
    found = group(traced(sequences.NETWORKS["residual, both directions"]), "cells.1")
    assert {"embed.weight", "cells.0.weight_hh_l0", "cells.1.weight_ih_l0_reverse"} <= {
        axis.path for axis in found.axes
    }
    # Two directions of 8 make up the 16 channels of the shortcut.
    assert (found.units, found.blocks) == (16, 2)


def test_states_handed_on_tie_the_units_of_two_layers() -> None:
    found = group(traced(sequences.NETWORKS["encoder and decoder"]), "decoder")
    assert {"encoder.hidden_size", "decoder.hidden_size"} <= {axis.path for axis in found.axes}
    assert found.units == 32


def test_steps_weighed_by_their_own_scores_do_not_tie_the_directions() -> None:
    found = group(traced(sequences.NETWORKS["pooled by bmm"]), "cells")
    assert (found.units, found.blocks) == (32, 2)


def test_an_lstm_with_projections_stays_whole_and_the_others_go() -> None:
    cells = nn.LSTM(16, 24, batch_first=True, proj_size=16)
    model = sequences.Reads(cells, lambda out, _: out[:, -1], 16)
    coupling = neurons.trace(model, architectures.ARCHITECTURES["bi-lstm"].rows(2))
    assert "build it with proj_size=0" in reasons(coupling.whole)["cells"]
    assert [found.name for found in coupling.groups] == ["embed"]


def test_states_that_are_the_answer_stay_whole() -> None:
    model = sequences.Reads(sequences.gru(2), lambda out, _: out[:, -1], 16)
    model.head = nn.Identity()
    coupling = neurons.trace(model, architectures.ARCHITECTURES["bi-lstm"].rows(2))
    # Both layers have one width, so the lower one stays too.
    assert reasons(coupling.whole)["cells"] == "it gives the model's answer"
    assert [found.name for found in coupling.groups] == ["embed"]


def test_a_width_written_into_the_code_is_found_out() -> None:
    model = sequences.ZeroStart(asks=False).eval()
    example = architectures.ARCHITECTURES["bi-lstm"].rows(2)
    kept = [
        (found, tuple(range(found.units // 2))) for found in neurons.trace(model, example).groups
    ]
    record = trial.workable(model, example, kept)
    assert "its own forward cannot follow the cut" in reasons(record.whole)["cells"]
    assert [found.name for found in record.groups] == ["embed"]


KINDS: list[Callable[[], nn.Module]] = [
    lambda: nn.LSTM(4, 6, 2),
    lambda: nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True),
    lambda: nn.GRU(4, 6, 2, bidirectional=True),
    lambda: nn.RNN(4, 6, batch_first=True, bias=False),
    lambda: nn.LSTM(4, 6, proj_size=3),
]


def shapes(given: object) -> object:
    return tuple(map(shapes, given)) if isinstance(given, tuple) else torch.as_tensor(given).shape


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("values", [torch.ones(3, 5, 4), torch.ones(5, 4)])
def test_a_stand_in_gives_what_its_layer_gives(
    make: Callable[[], nn.Module], values: torch.Tensor
) -> None:
    real = make()
    assert shapes(recurrent.Layer(real)(values)) == shapes(real(values))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("make", KINDS)
def test_a_stand_in_takes_the_states_that_its_layer_gives(make: Callable[[], nn.Module]) -> None:
    real, values = make(), torch.ones(3, 5, 4)
    _, states = real(values)
    assert shapes(recurrent.Layer(real)(values, states)) == shapes(real(values, states))


def test_a_stand_in_takes_and_gives_packed_sequences() -> None:
    real = nn.GRU(4, 6, bidirectional=True)
    packed = rnn.pack_sequence([torch.ones(3, 4), torch.ones(2, 4)])
    (found, last), (expected, states) = recurrent.Layer(real)(packed), real(packed)
    assert found.data.shape == expected.data.shape
    assert last.shape == states.shape


@pytest.mark.parametrize("real", [nn.LSTMCell(4, 6), nn.GRUCell(4, 6), nn.RNNCell(4, 6)])
def test_a_cell_s_stand_in_gives_what_the_cell_gives(real: nn.Module) -> None:
    stand_in, values = recurrent.Cell(real), torch.ones(3, 4)
    state = real(values)
    assert shapes(stand_in(values)) == shapes(state)
    assert shapes(stand_in(values, state)) == shapes(state)


def run(layer: str, units: range) -> recurrent.Run:
    return recurrent.Run(layer, "hidden_size", tuple(units))


def piece(name: str, units: int, *runs: recurrent.Run, blocks: int = 1) -> recurrent.Piece:
    axis = groups.Axis(f"{name}.weight", 0, tuple(range(units)))
    return recurrent.Piece(groups.CoupledGroup(name, units, (axis,), blocks), runs)


def test_groups_without_runs_are_handed_on() -> None:
    alone = piece("fc", 3)
    assert recurrent.join([alone], []) == ((alone.group,), ())


def test_groups_of_one_layer_become_one_numbered_on() -> None:
    pieces = [piece("up", 4, run("cells", range(4))), piece("down", 4, run("cells", range(4)))]
    (found,), whole = recurrent.join(pieces, [])
    assert whole == ()
    assert (found.name, found.units, found.blocks, found.runs) == ("cells", 8, 2, 2)
    assert owners(found) == {
        ("up.weight", 0): (0, 1, 2, 3),
        ("down.weight", 0): (4, 5, 6, 7),
        ("cells.hidden_size", None): (0, 1, 2, 3),
    }


def test_heads_that_read_a_run_make_its_blocks_finer() -> None:
    pieces = [
        piece("up", 4, run("cells", range(4)), blocks=2),
        piece("down", 4, run("cells", range(4))),
    ]
    (found,), _ = recurrent.join(pieces, [])
    assert (found.blocks, found.runs) == (4, 2)


def test_two_layers_that_share_a_run_have_one_group() -> None:
    pieces = [
        piece("shared", 4, run("first", range(4)), run("second", range(4))),
        piece("below", 4, run("first", range(4))),
        piece("under", 4, run("second", range(4))),
    ]
    (found,), _ = recurrent.join(pieces, [])
    assert (found.units, found.blocks) == (12, 3)


def test_a_run_that_stays_keeps_all_of_its_layer() -> None:
    stuck = recurrent.Stuck(surgery.Whole("head", "it answers"), frozenset({"cells"}))
    found, whole = recurrent.join([piece("up", 4, run("cells", range(4)))], [stuck])
    assert found == ()
    assert reasons(whole) == {"head": "it answers", "cells": "it answers"}


def test_layers_are_also_tied_by_what_stays() -> None:
    stuck = recurrent.Stuck(surgery.Whole("head", "it answers"), frozenset({"first", "second"}))
    pieces = [piece("up", 4, run("first", range(4))), piece("down", 4, run("second", range(4)))]
    assert recurrent.join(pieces, [stuck])[0] == ()


@pytest.mark.parametrize("units", [(0, 0, 1, 1), (0, 2, 4, 6), (groups.NOBODY, 0, 1, 2)])
def test_units_that_are_coupled_across_a_run_keep_it_whole(units: tuple[int, ...]) -> None:
    odd = recurrent.Run("cells", "hidden_size", units)
    found, whole = recurrent.join([piece("up", 8, odd)], [])
    assert found == ()
    assert "coupled across each other" in reasons(whole)["cells"]


def test_units_that_a_grouped_convolution_ties_stay() -> None:
    tied = groups.CoupledGroup("up", 4, (), width=2)
    found, whole = recurrent.join([recurrent.Piece(tied, (run("cells", range(4)),))], [])
    assert found == ()
    assert "grouped convolution" in reasons(whole)["cells"]
