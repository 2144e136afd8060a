from __future__ import annotations

import numpy as np
import torch
from torch import nn

from retrain.evaluate import embedding
from tests.support import networks


def test_the_input_of_the_linear_layer_that_runs_last_is_read() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    rows = networks.vectors(10)
    expected = model[1](model[0](torch.from_numpy(rows.inputs["values"]))).detach().numpy()
    found = embedding.embed(model, rows)
    assert found is not None
    assert np.allclose(found, expected)


def test_rows_of_several_batches_come_in_order() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    rows = networks.vectors(embedding.BATCH + 3)
    found = embedding.embed(model, rows)
    assert found is not None
    assert np.array_equal(found, rows.inputs["values"])


def test_the_mode_and_the_hooks_of_the_model_are_put_back() -> None:
    model = networks.Residual().train()
    embedding.embed(model, networks.rows(4))
    assert model.training
    assert not model.head._forward_pre_hooks


def test_several_inputs_go_in_by_name() -> None:
    found = embedding.embed(networks.TwoInputs(), networks.pairs(5))
    assert found is not None
    assert found.shape == (5, 16)


def test_a_network_without_linear_layers_has_no_embedding() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten())
    assert embedding.embed(model, networks.rows(4)) is None


def test_what_is_too_wide_is_no_embedding() -> None:
    wide = nn.Sequential(nn.Conv2d(1, 80, 1), nn.Flatten(), nn.Linear(80 * 64, 3))
    assert embedding.embed(wide, networks.rows(2)) is None
