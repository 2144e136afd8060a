from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from coppice import errors, project
from retrain import network
from retrain.pruning import blocks, groups, jobs, recipe, schedule, surgery, units
from tests.support import architectures, networks

NETS = architectures.ARCHITECTURES


def found(model: nn.Module, split: project.Split) -> dict[str, str]:
    group = blocks.find(model.eval(), jobs.example(split)).group
    return {block.module: block.leaves for block in group.modules}


def of(name: str) -> dict[str, str]:
    return found(NETS[name].model(), NETS[name].data().train)


def prune(model: nn.Module, name: str, **fields: object) -> surgery.Surgery:
    how = {"level": "layer", "criterion": "magnitude", **fields}
    net = NETS[name]
    plan = recipe.Recipe(**how)  # type: ignore[arg-type]
    return schedule.prune(model, net.data().train, plan, task=net.task, seed=0)


class Tower(nn.Module):
    """A trunk of its own class, with something of its own between the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self.inner:
            values = torch.tanh(layer(values))
        return values


def pre_norm() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6))


class Branches(nn.Module):
    """Residual branches whose sum is in the model's own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = pre_norm(), pre_norm()
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = values + self.first(values)
        values = values + self.second(values)
        return self.head(values)  # type: ignore[no-any-return]


class Places(nn.Module):
    """Two square layers that are added, but are no branches of one another."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        marks = torch.ones(1, 6) * torch.arange(6.0)
        return self.head(self.left(values) + self.right(marks))  # type: ignore[no-any-return]


def test_blocks_that_keep_their_shape_are_found_whole() -> None:
    assert of("residual-cnn") == {"blocks.0": "input", "blocks.2": "input"}
    assert of("depthwise-cnn") == {"4": "input"}
    assert of("attention-block") == {"blocks.0": "input", "blocks.1": "input"}


def test_the_layers_of_torchs_own_encoder_are_found() -> None:
    assert of("transformer") == {"encoder.layers.0": "input", "encoder.layers.1": "input"}


def test_a_trunk_is_looked_into_and_a_single_block_is_not() -> None:
    model = nn.Sequential(Tower(), nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 2))
    assert found(model, networks.vectors()) == {
        "0.inner.0": "input",
        "0.inner.1": "input",
        "1": "input",
    }


def test_a_branch_that_the_model_adds_is_left_out_as_nothing() -> None:
    assert found(Branches(), networks.vectors()) == {"first": "zeros", "second": "zeros"}


def test_what_is_added_to_something_else_is_no_branch() -> None:
    assert set(found(Places(), networks.vectors()).values()) == {"input"}


def test_a_module_under_two_names_is_no_block() -> None:
    layer = nn.Linear(6, 6)
    assert found(nn.Sequential(layer, nn.ReLU(), layer), networks.vectors()) == {}


def test_finding_leaves_the_model_alone() -> None:
    model = NETS["residual-cnn"].model()
    before = copy.deepcopy(model.state_dict())
    found(model, NETS["residual-cnn"].data().train)
    assert [type(module) for module in model.blocks] == [architectures.ResidualBlock] * 3
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_block_owns_all_its_parameters() -> None:
    model = NETS["residual-cnn"].model()
    group = blocks.find(model, jobs.example(NETS["residual-cnn"].data().train)).group
    ones = {name: torch.ones_like(each) for name, each in model.named_parameters()}
    sizes = [
        sum(p.numel() for p in model.get_submodule(n).parameters()) for n in of("residual-cnn")
    ]
    assert groups.per_unit(group, ones).tolist() == sizes


@pytest.mark.parametrize(
    ("amount", "due", "before", "gone"),
    [
        (0.5, 1.0, 4, "ab"),
        (0.6, 1.0, 4, "ab"),  # 2.4 of 4
        (0.125, 1.0, 4, ""),  # ties leave more
        (0.9, 1.0, 4, "abcd"),  # 3.6: all may go
        (0.5, 0.5, 4, "a"),  # a quarter is due
        (0.5, 1.0, 6, "a"),  # 3 of 6, of which 2 went before
    ],
)
def test_the_weakest_go(amount: float, due: float, before: int, gone: str) -> None:
    group = groups.CoupledGroup(
        "layers", 4, (), modules=tuple(groups.Block(n, "input") for n in "abcd")
    )
    job = jobs.Job(
        split=networks.vectors(),
        step=recipe.Step(level="layer", amount=amount),
        due=due,
        before={"layers": before},
        task="binary",
        seed=0,
        left={"layers": 4},
    )
    chosen = blocks.choose(group, torch.tensor([0.0, 1.0, 2.0, 3.0]), job)
    assert "".join(block.module for block in chosen) == gone


def test_a_block_that_got_stuck_meanwhile_was_not_taken_for_gone() -> None:
    group = groups.CoupledGroup("layers", 1, (), modules=(groups.Block("a", "input"),))
    job = jobs.Job(
        split=networks.vectors(),
        step=recipe.Step(level="layer", amount=0.5),
        due=1.0,
        before={"layers": 4},
        task="binary",
        seed=0,
        left={"layers": 3},
    )
    # 2 of 4 are due and one is gone; two others are needed by now.
    assert [block.module for block in blocks.choose(group, torch.tensor([0.0]), job)] == ["a"]


class Chained(nn.Module):
    """Two layers of which one has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.head = nn.Linear(6, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = values
        for layer in self.trunk:
            hidden = layer(hidden)
        return self.head(hidden - values)  # type: ignore[no-any-return]


def test_the_record_counts_what_is_left_when_the_rest_is_stuck() -> None:
    plan = recipe.Recipe(
        level="layer", criterion="magnitude", amount=0.9, schedule="iterative", rounds=3
    )
    model = network.build(Chained, seed=0)
    record = schedule.prune(model, networks.vectors(), plan, task="binary", seed=0)
    (group,) = record.groups
    assert (group.before, group.after) == (2, 1)
    assert len(record.removed) == 1


def test_what_is_inside_an_attention_is_no_block() -> None:
    net = NETS["attention-block"]
    model, split = net.model(), net.data().train
    units.prepare(model, split)
    assert not any("attend." in name for name in found(model, split))


def test_named_blocks_go_or_stay_whatever_they_score() -> None:
    group = groups.CoupledGroup(
        "layers", 4, (), modules=tuple(groups.Block(n, "input") for n in "abcd")
    )
    job = jobs.Job(
        split=networks.vectors(),
        step=recipe.Step(level="layer", amount=0.5, amounts={"a": 0.0, "d": 0.9}),
        due=1.0,
        before={},
        task="binary",
        seed=0,
    )
    # Of the two that are not named, half: the weaker one.
    chosen = blocks.choose(group, torch.tensor([0.0, 1.0, 2.0, 3.0]), job)
    assert [block.module for block in chosen] == ["d", "b"]


@pytest.mark.parametrize("name", ["residual-cnn", "attention-block"])
def test_leaving_a_residual_block_out_is_silencing_its_branch(name: str) -> None:
    model = NETS[name].model()
    silent = copy.deepcopy(model)
    record = prune(model, name, amount=0.9, batch_norm_rows=1)
    with torch.no_grad():
        for gone in record.removed:
            branch = silent.get_submodule(gone.module)
            for end in ENDS[name]:
                branch.get_submodule(end).weight.zero_()
                branch.get_submodule(end).bias.zero_()
        rows = NETS[name].rows(64)
        gap = (network.call(model, rows) - network.call(silent, rows)).abs().max()
    assert len(record.removed) == 2
    assert float(gap) <= 1e-5


ENDS = {"residual-cnn": ["second_norm"], "attention-block": ["attend.out_proj", "wide.2"]}
"""What gives each branch its values, last."""


def test_leaving_an_added_branch_out_is_silencing_it() -> None:
    model = Branches().eval()
    silent = copy.deepcopy(model)
    plan = recipe.Recipe(
        level="layer", criterion="magnitude", amounts={"first": 0.9, "second": 0.0}
    )
    record = schedule.prune(model, networks.vectors(), plan, task="binary", seed=0)
    rows = torch.from_numpy(networks.vectors().inputs["values"])
    with torch.no_grad():
        silent.first[1].weight.zero_()
        silent.first[1].bias.zero_()
        assert torch.allclose(model(rows), silent(rows), atol=1e-6)
    assert record.removed == (surgery.Removed("first", "zeros"),)


@pytest.mark.parametrize("schedule_", ["one-shot", "iterative", "gradual"])
@pytest.mark.parametrize("name", ["residual-cnn", "transformer", "attention-block"])
def test_a_record_replays_bit_for_bit(name: str, schedule_: str) -> None:
    model = NETS[name].model()
    record = prune(model, name, amount=0.9, schedule=schedule_, rounds=2)
    fresh = NETS[name].model(seed=1)
    surgery.replay(fresh, surgery.Surgery.from_json(record.to_json()))
    fresh.load_state_dict(model.state_dict())
    rows = NETS[name].rows()
    with torch.no_grad():
        assert torch.equal(network.call(fresh, rows), network.call(model, rows))
    assert record.groups == (surgery.GroupRecord("layers", 2, 0),)
    assert len(record.removed) == 2


def test_the_layers_of_torchs_encoder_can_all_be_left_out() -> None:
    model = NETS["transformer"].model()
    prune(model, "transformer", amount=0.9)
    assert [type(layer) for layer in model.encoder.layers] == [surgery.Bypass] * 2


def test_a_network_without_such_blocks_is_refused_with_the_reasons() -> None:
    with pytest.raises(errors.PruningError, match=r"'0' gives shape \[2, 32\] for \[2, 6\]"):
        prune(NETS["mlp"].model(), "mlp")


def test_an_amount_that_leaves_all_blocks_is_refused() -> None:
    told = r"'layers': all 2 blocks stay whole at amount 0.2; raise the amount$"
    with pytest.raises(errors.PruningError, match=told):
        prune(NETS["residual-cnn"].model(), "residual-cnn", amount=0.2)


def test_of_two_ways_side_by_side_one_stays() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)
            self.head = nn.Linear(6, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.head(self.left(values) + self.right(values))  # type: ignore[no-any-return]

    model = Two().eval()
    plan = recipe.Recipe(level="layer", criterion="magnitude", amount=0.9)
    record = schedule.prune(model, networks.vectors(), plan, task="binary", seed=0)
    assert len(record.removed) == 1
    assert "answers the same whatever it reads" in record.whole[0].reason


def test_a_block_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(errors.PruningError, match=r"did you mean 'blocks.2'\?"):
        prune(NETS["residual-cnn"].model(), "residual-cnn", amounts={"block.2": 0.9})


def test_a_named_block_that_went_in_an_earlier_round_counts_no_more() -> None:
    group = groups.CoupledGroup(
        "layers", 2, (), modules=(groups.Block("a", "input"), groups.Block("b", "input"))
    )
    job = jobs.Job(
        split=networks.vectors(),
        step=recipe.Step(level="layer", amount=0.5, amounts={"d": 0.9}),
        due=1.0,
        before={"layers": 4},
        task="binary",
        seed=0,
        left={"layers": 2},
    )
    # Of 3 that are not named 1.5 are due, which leaves 2: one went before, with the named one.
    assert blocks.choose(group, torch.tensor([0.0, 1.0]), job) == ()
