from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from coppice import project
from retrain import network
from retrain.pruning import groups, neurons, surgery, trial
from tests.support import layouts, networks


def example(split: project.Split) -> dict[str, torch.Tensor]:
    return network.to_tensors(split.take(np.arange(2)).inputs)


def halves(model: nn.Module, split: project.Split) -> list[trial.Kept]:
    """Keep the first half of each group's units, of every block."""
    found = neurons.trace(model, example(split)).groups
    return [
        (group, groups.choose(group, -torch.arange(group.units), group.units // 2))
        for group in found
    ]


@pytest.mark.parametrize(
    ("factory", "rows"),
    [
        (networks.mlp, networks.vectors),
        (networks.Residual, networks.rows),
        (networks.depthwise, networks.rows),
        (networks.grouped, networks.rows),
        (networks.Transformer, networks.sequences),
        (networks.TwoInputs, networks.pairs),
    ],
)
def test_every_group_of_every_kind_can_be_cut(factory: type[nn.Module], rows: object) -> None:
    assert callable(rows)
    split = rows()
    model = network.build(factory, seed=0).eval()
    kept = halves(model, split)
    assert trial.workable(model, example(split), kept).whole == ()


def test_a_trial_does_not_touch_the_model() -> None:
    model = networks.Transformer().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    split = networks.sequences()
    trial.workable(model, example(split), halves(model, split))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert "forward" not in vars(model.encoder.layers[0].norm1)


def test_nothing_to_cut_is_no_problem() -> None:
    split = networks.vectors()
    assert trial.problem(networks.mlp(), example(split), surgery.Surgery()) is None


class FixedView(nn.Module):
    """Its code holds the width of a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(values)).reshape(len(values), 16)
        return self.head(torch.relu(self.second(hidden)))  # type: ignore[no-any-return]


def test_code_that_holds_a_width_keeps_that_layer_whole_and_cuts_the_others() -> None:
    split = networks.vectors()
    model = FixedView().eval()
    record = trial.workable(model, example(split), halves(model, split))
    assert [group.name for group in record.groups] == ["second"]
    assert [whole.name for whole in record.whole] == ["first"]
    assert "its own forward cannot follow the cut" in record.whole[0].reason


class Normed(nn.Module):
    """Norms over channels: of images by a layer of its own, and by torch's function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Conv2d(1, 16, 3), layouts.ChannelNorm(16)
        self.wide, self.head = nn.Conv2d(16, 16, 3), nn.Linear(16, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.wide(torch.relu(self.norm(self.inner(image)))).mean(dim=(2, 3))
        return self.head(torch.nn.functional.layer_norm(hidden, hidden.shape[1:]))  # type: ignore[no-any-return]


def test_a_norm_is_left_out_of_the_comparison_however_it_is_called() -> None:
    split = networks.rows()
    model = network.build(Normed, seed=0).eval()
    record = trial.workable(model, example(split), halves(model, split))
    assert {group.name: group.after for group in record.groups} == {"inner": 8, "wide": 8}
    assert record.whole == ()


class Roll(nn.Module):
    """Moves its channels around, which no tracing of sizes can see."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.inner(values))
        return self.head(hidden[:, torch.arange(hidden.shape[1] - 1, -1, -1)])  # type: ignore[no-any-return]


def test_a_cut_that_answers_differently_from_the_masked_model_is_found_out() -> None:
    split = networks.vectors()
    model = network.build(Roll, seed=0).eval()
    record = trial.workable(model, example(split), halves(model, split))
    assert record.cuts == ()
    assert "does not answer as with the same channels at zero" in record.whole[0].reason


def test_a_cut_that_changes_the_shape_of_the_answer_is_found_out() -> None:
    split = networks.vectors()
    model = networks.mlp().eval()
    axes = (groups.Axis("4.weight", 0, (0, 1)), groups.Axis("4.bias", 0, (0, 1)))
    record = surgery.plan(model, [(groups.CoupledGroup("4", 2, axes), (0,))])
    assert trial.problem(model, example(split), record) == (
        "cut, the model answers with shape (2, 1)"
    )


def test_an_answer_that_is_not_a_number_is_a_problem() -> None:
    split = networks.vectors()
    model = networks.mlp().eval()
    torch.nn.init.constant_(model[4].bias, float("nan"))
    record = surgery.plan(model, halves(model, split))
    assert trial.problem(model, example(split), record) is not None
