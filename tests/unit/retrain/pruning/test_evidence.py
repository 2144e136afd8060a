from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils import rnn

from retrain import network, train
from retrain.pruning import evidence
from tests.support import networks


def test_gradients_come_one_mapping_per_minibatch() -> None:
    split = networks.vectors(150)
    model = networks.mlp().eval()
    batches = list(evidence.gradients(model, split, task="multiclass", seed=0))
    # 150 rows are 64 + 64 + 22.
    assert len(batches) == 3
    assert set(batches[0]) == {name for name, _ in model.named_parameters()}


def test_gradients_leave_none_behind() -> None:
    model = networks.mlp().eval()
    list(evidence.gradients(model, networks.vectors(), task="multiclass", seed=0))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_activations_are_what_a_module_reads() -> None:
    split = networks.vectors(100)
    model = networks.mlp().eval()
    first, second = evidence.activations(model, ["0"], split, seed=0)
    # Every row is read once; the order is drawn.
    read = torch.cat([first["0"], second["0"]]).sum(dim=0)
    given = torch.from_numpy(next(iter(split.inputs.values()))).sum(dim=0)
    assert torch.allclose(read, given, atol=1e-3)


def test_activations_leave_no_hook_behind() -> None:
    model = networks.mlp().eval()
    list(evidence.activations(model, ["0"], networks.vectors(), seed=0))
    assert not model.get_submodule("0")._forward_pre_hooks


class Pyramid(nn.Module):
    """One layer reads images of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Conv2d(1, 4, 1), nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        wide, narrow = self.shared(image), self.shared(image[:, :, ::2, ::2])
        return self.head(wide.mean(dim=(2, 3)) + narrow.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_a_module_that_reads_several_sizes_is_heard_in_the_first() -> None:
    given = evidence.activations(Pyramid().eval(), ["shared"], networks.rows(), seed=0)
    assert next(given)["shared"].shape == (64, 1, 8, 8)


class Padded(nn.Module):
    """An encoder that is told which places are padding, as the last ones of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        padding = torch.arange(tokens.shape[1]).expand(tokens.shape) > 2
        hidden = self.encoder(self.embed(tokens), src_key_padding_mask=padding)
        return hidden.mean(dim=1)  # type: ignore[no-any-return]


def test_an_encoder_s_layers_read_padded_rows_like_any_other() -> None:
    model = Padded().eval()
    read = next(evidence.activations(model, ["encoder.layers.1"], networks.sequences(), seed=0))
    assert read["encoder.layers.1"].shape == (64, 5, 8)


class Reads(nn.Module):
    """Gives its values to a layer by name, and to another one packed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.cells = nn.GRU(4, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        steps = self.first(input=values).unsqueeze(1)
        lengths = torch.ones(len(steps), dtype=torch.long)
        packed = rnn.pack_padded_sequence(steps, lengths, batch_first=True)
        return self.head(self.cells(packed)[1][0])  # type: ignore[no-any-return]


def test_what_is_given_by_name_or_packed_is_read_too() -> None:
    model = Reads().eval()
    read = next(evidence.activations(model, ["first", "cells"], networks.vectors(8), seed=0))
    assert torch.equal(model.first(read["first"]).unsqueeze(1), read["cells"])


def test_the_mean_loss_of_all_rows_is_that_of_one_pass() -> None:
    split = networks.vectors(128)
    model = networks.mlp().eval()
    found = evidence.mean_loss(model, split, task="multiclass", seed=0)
    answers = network.call(model, network.to_tensors(split.inputs))
    expected = train.loss(answers, train.targets_of(split, "multiclass"), "multiclass")
    # Two minibatches of 64 rows weigh the same.
    assert math.isclose(found, expected.item(), rel_tol=1e-5)


def test_gathered_evidence_holds_the_model_s_parameters() -> None:
    model = networks.mlp().eval()
    found = evidence.gather(model, networks.vectors(), task="multiclass", seed=3)
    assert found.parameters.keys() == dict(model.named_parameters()).keys()
    assert found.seed == 3
    assert found.loss_of(model) > 0
    assert len(next(found.gradients())) == len(found.parameters)
    assert set(next(found.activations(["2"]))) == {"2"}


def test_outputs_are_what_a_module_gives_on_the_same_rows() -> None:
    split = networks.vectors(100)
    model = networks.mlp().eval()
    reads = evidence.activations(model, ["0", "1"], split, seed=0)
    gives = evidence.outputs(model, ["0", "1"], split, seed=0)
    for read, given in zip(reads, gives, strict=True):
        # What the first layer gives the second reads.
        assert torch.equal(given["0"], read["1"])
        assert torch.equal(given["1"], read["1"].relu())


def test_what_a_module_reads_is_seen_before_it_writes_into_it() -> None:
    model = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(6, 2)).eval()
    (read,) = evidence.activations(model, ["0"], networks.vectors(), seed=0)
    assert (read["0"] < 0).any()
