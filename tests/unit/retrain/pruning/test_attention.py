"""What is inside attention is removed exactly; what it reads and gives is traced like a layer."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from coppice import project, runtime
from retrain import network, onnx_export
from retrain.pruning import attention, narrow, recipe, schedule, surgery, units
from tests.support import architectures

ENCODER = architectures.ARCHITECTURES["transformer"]
BLOCK = architectures.ARCHITECTURES["attention-block"]
OUTER = {
    "encoder.layers.1.linear2": 0.0,
    "blocks.1.wide.2": 0.0,
}
"""The width between the blocks: norms over it see how many channels there are."""


def pruned(
    model: nn.Module, split: project.Split, inside: attention.Inside, amount: float = 0.5
) -> surgery.Surgery:
    how = recipe.Recipe(criterion="magnitude", amount=amount, amounts=OUTER, align=1, inside=inside)
    return schedule.prune(model, split, how, task="multiclass", seed=0)


def answers(model: nn.Module, split: project.Split) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model.eval(), network.to_tensors(split.inputs))


@pytest.mark.parametrize("inside", ["heads", "dims"])
@pytest.mark.parametrize("made", [ENCODER, BLOCK], ids=["encoder", "block"])
def test_heads_and_their_channels_are_removed_exactly(
    made: architectures.Architecture, inside: attention.Inside
) -> None:
    split = made.data().train
    model, masked = made.model(), made.model()
    record = pruned(model, split, inside)
    surgery.swap(masked, record)
    masked.load_state_dict(surgery.masked(masked.state_dict(), record))
    assert record.swapped
    assert float((answers(model, split) - answers(masked, split)).abs().max()) <= 1e-5


@pytest.mark.parametrize("inside", ["heads", "dims"])
@pytest.mark.parametrize("made", [ENCODER, BLOCK], ids=["encoder", "block"])
def test_the_record_replayed_on_a_fresh_model_answers_bit_for_bit(
    made: architectures.Architecture, inside: attention.Inside
) -> None:
    split = made.data().train
    model, fresh = made.model(), made.model(seed=1)
    record = surgery.Surgery.from_json(pruned(model, split, inside).to_json())
    surgery.replay(fresh, record)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(answers(fresh, split), answers(model, split))


def test_half_of_the_heads_go() -> None:
    model = BLOCK.model()
    pruned(model, BLOCK.data().train, "heads")
    attends = model.get_submodule("blocks.0.attend")
    assert isinstance(attends, narrow.NarrowAttention)
    # Four heads of eight channels over a width of 32.
    assert (attends.num_heads, attends.head_dim, attends.value_dim) == (2, 8, 8)
    assert attends.query.weight.shape == (16, 32)
    assert attends.out_proj.weight.shape == (32, 16)


def test_half_of_the_channels_of_every_head_go() -> None:
    model = BLOCK.model()
    pruned(model, BLOCK.data().train, "dims")
    attends = model.get_submodule("blocks.0.attend")
    assert isinstance(attends, narrow.NarrowAttention)
    assert (attends.num_heads, attends.head_dim, attends.value_dim) == (4, 4, 4)
    assert attends.scale == 8**-0.5


def test_heads_can_go_after_their_channels() -> None:
    model, masked = BLOCK.model(), BLOCK.model()
    how = recipe.Recipe(
        criterion="magnitude",
        amounts=OUTER,
        align=1,
        inside="dims",
        then=(recipe.Step(criterion="magnitude", amounts=OUTER, align=1, inside="heads"),),
    )
    split = BLOCK.data().train
    record = schedule.prune(model, split, how, task="multiclass", seed=0)
    attends = model.get_submodule("blocks.0.attend")
    assert isinstance(attends, narrow.NarrowAttention)
    # First 4 of 8 channels, then 2 of 4 heads.
    assert (attends.num_heads, attends.head_dim, attends.query.out_features) == (2, 4, 8)
    surgery.replay(masked, record)
    masked.load_state_dict(model.state_dict())
    assert torch.equal(answers(masked, split), answers(model, split))


def test_the_width_between_blocks_is_cut_through_attention_too() -> None:
    model = BLOCK.model()
    how = recipe.Recipe(criterion="magnitude", amount=0.5, align=1)
    record = schedule.prune(model, BLOCK.data().train, how, task="multiclass", seed=0)
    attends = model.get_submodule("blocks.0.attend")
    assert isinstance(attends, narrow.NarrowAttention)
    assert attends.embed_dim == 16
    assert attends.query.weight.shape == (16, 16)
    assert surgery.GroupRecord("blocks.1.wide.2", 32, 16) in record.groups


def test_looking_for_groups_changes_no_model() -> None:
    model = BLOCK.model()
    before = copy.deepcopy(model.state_dict())
    units.couple(model, BLOCK.data().train)
    assert model.state_dict().keys() == before.keys()
    assert isinstance(model.get_submodule("blocks.0.attend"), nn.MultiheadAttention)


class Peeking(nn.Module):
    """Looks into its attention, as a user's forward may."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [rows, steps, 8] to [rows, 2]."""
        scale = self.attend.in_proj_weight.abs().mean()
        mixed, _ = self.attend(x, x, x)
        logits: torch.Tensor = self.head(mixed.mean(dim=1)) * scale
        return logits


def test_an_attention_that_the_forward_looks_into_stays_as_it_is() -> None:
    example = {"x": torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))}
    model = Peeking()
    assert attention.widen(model, example) == ()
    assert isinstance(model.attend, nn.MultiheadAttention)


def test_a_record_that_replaces_something_else_is_refused() -> None:
    record = surgery.Surgery(swapped=(surgery.Swapped("0"),))
    with pytest.raises(Exception, match="it is Linear, not MultiheadAttention"):
        surgery.replay(nn.Sequential(nn.Linear(2, 2)), record)


def test_a_cut_transformer_is_exported(tmp_path: Path) -> None:
    model = ENCODER.model()
    split = ENCODER.data().train
    pruned(model, split, "heads")
    path = tmp_path / "model.onnx"
    onnx_export.export(model, split, path, task=ENCODER.task)
    rows = split.take(np.arange(7))
    found = runtime.Session(path).run(rows.inputs)["scores"]
    expected = answers(model, rows).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
