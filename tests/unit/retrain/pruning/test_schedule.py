from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from coppice import errors, labels, project, settings
from retrain import network, recovery, train
from retrain.pruning import recipe, schedule, surgery
from tests.support import architectures, networks

Rows = Callable[[], project.Split]

EXACT = [
    (networks.mlp, networks.vectors),
    (networks.Residual, networks.rows),
    (networks.depthwise, networks.rows),
    (networks.TwoInputs, networks.pairs),
]
"""Networks in which no operation sees how many channels there are."""
ALL = [
    *EXACT,
    (networks.grouped, networks.rows),
    (networks.Transformer, networks.sequences),
]
HALF = recipe.Recipe(amount=0.5, align=4, criterion="magnitude")


def prune(
    model: nn.Module,
    split: project.Split,
    plan: recipe.Recipe = HALF,
    task: labels.Task = "multiclass",
    seed: int = 0,
) -> surgery.Surgery:
    return schedule.prune(model, split, plan, task=task, seed=seed)


def answers(model: nn.Module, split: project.Split) -> torch.Tensor:
    with torch.no_grad():
        return network.call(model, network.to_tensors(split.inputs))


@pytest.mark.parametrize(("factory", "rows"), EXACT)
def test_a_cut_model_answers_like_the_masked_one(
    factory: Callable[[], nn.Module], rows: Rows
) -> None:
    split = rows()
    model = network.build(factory, seed=1)
    reference = copy.deepcopy(model).eval()
    record = surgery.Surgery.from_json(prune(model, split).to_json())
    cut = surgery.replay(copy.deepcopy(reference), record)
    reference.load_state_dict(surgery.masked(reference.state_dict(), record))
    assert record.cuts
    gap = (answers(cut, split) - answers(reference, split)).abs().max()
    assert float(gap) <= 1e-5


@pytest.mark.parametrize(("factory", "rows"), ALL)
def test_a_record_replayed_on_a_fresh_model_answers_bit_for_bit(
    factory: Callable[[], nn.Module], rows: Rows
) -> None:
    split = rows()
    model = network.build(factory, seed=1)
    record = prune(model, split)
    fresh = network.build(factory, seed=2)
    surgery.replay(fresh, surgery.Surgery.from_json(record.to_json()))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(answers(fresh.eval(), split), answers(model, split))


@pytest.mark.parametrize(("factory", "rows"), ALL)
def test_a_cut_model_can_be_trained(factory: Callable[[], nn.Module], rows: Rows) -> None:
    split = rows()
    model = network.build(factory, seed=1)
    prune(model, split)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    train.fit(model, split, train.FitPlan(task="multiclass", epochs=1, batch_size=32))
    changed = [not torch.equal(old, p) for old, p in zip(before, model.parameters(), strict=True)]
    assert sum(changed) > len(changed) // 2


@pytest.mark.parametrize(("factory", "rows"), ALL)
def test_half_of_each_group_goes(factory: Callable[[], nn.Module], rows: Rows) -> None:
    record = prune(network.build(factory, seed=1), rows())
    assert record.groups
    assert [group.after for group in record.groups] == [g.before // 2 for g in record.groups]


@pytest.mark.parametrize(
    ("amount", "align", "left"),
    [
        (0.5, 8, [16, 16]),  # 12 of 24 lies between 8 and 16; ties go up
        (0.5, 1, [12, 16]),
        (0.25, 8, [16, 24]),  # 18 of 24 is nearest to 16
        (0.9, 8, [8, 8]),  # never less than one step
        (0.9, 16, [16, 16]),
        (0.1, 16, [16, 32]),  # 21.6 of 24 is nearer to 16 than to 32; 28.8 of 32 to 32
    ],
)
def test_counts_are_aligned(amount: float, align: int, left: list[int]) -> None:
    model = networks.mlp()
    prune(model, networks.vectors(), recipe.Recipe(amount=amount, align=align))
    assert [model[2].out_features, model[0].out_features] == left


def test_the_output_and_the_inputs_keep_their_sizes() -> None:
    model = networks.mlp()
    prune(model, networks.vectors(), recipe.Recipe(amount=0.9, align=1))
    assert (model[0].in_features, model[4].out_features) == (6, 2)


def test_heads_go_whole_and_the_width_between_them_by_channels() -> None:
    model = network.build(networks.Transformer, seed=0)
    prune(model, networks.sequences())
    attention = model.encoder.layers[0].self_attn
    # Half of the 4 heads of 8 channels, and half of the 32 channels that they read and give.
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (2, 8, 16)


@pytest.mark.parametrize("name", ["magnitude", "random", "taylor"])
def test_the_same_seed_gives_the_same_record(name: str) -> None:
    plan = recipe.Recipe(criterion=name, align=1)
    records = [prune(network.build(networks.mlp, seed=3), networks.vectors(), plan) for _ in "ab"]
    assert records[0] == records[1]


def test_another_seed_gives_another_random_record() -> None:
    plan = recipe.Recipe(criterion="random", align=1)
    first, second = (
        prune(network.build(networks.mlp, seed=3), networks.vectors(), plan, seed=seed)
        for seed in (0, 1)
    )
    assert first.selections != second.selections


def test_an_idle_channel_goes_first() -> None:
    model = network.build(networks.mlp, seed=0)
    with torch.no_grad():
        # Its input weights and bias at zero, unit 5 is silent, whatever reads it.
        model[0].weight[5] = 0.0
        model[0].bias[5] = 0.0
    record = prune(
        model, networks.vectors(), recipe.Recipe(criterion="taylor", amount=0.1, align=1)
    )
    cut = {cut.tensor: record.selections[cut.selection].keep for cut in record.cuts}
    assert 5 not in cut["0.weight"]


def test_batch_norm_statistics_are_estimated_again() -> None:
    split = networks.rows()
    model = network.build(networks.Residual, seed=0)
    prune(model, split)
    with torch.no_grad():
        stem = model.stem[0](torch.from_numpy(split.inputs["image"]))
    assert torch.allclose(model.stem[1].running_mean, stem.mean(dim=(0, 2, 3)), atol=1e-4)


def test_the_model_is_left_in_evaluation_mode() -> None:
    model = networks.Residual().train()
    prune(model, networks.rows())
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["magnitude", "random", "taylor"])
def test_a_frozen_model_is_cut_and_stays_frozen(name: str) -> None:
    model = networks.mlp().requires_grad_(requires_grad=False)
    record = prune(model, networks.vectors(), recipe.Recipe(criterion=name))
    assert record.cuts
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_amount_zero_cuts_nothing() -> None:
    model = networks.mlp()
    assert prune(model, networks.vectors(), recipe.Recipe(amount=0.0)).cuts == ()
    assert model[0].out_features == 32


def test_an_alignment_wider_than_every_layer_is_refused_with_the_sizes() -> None:
    told = r"'0': all 32 channels stay whole in steps of 64 at amount .* or take a finer align$"
    with pytest.raises(errors.PruningError, match=told):
        prune(networks.mlp(), networks.vectors(), recipe.Recipe(align=64))


def test_a_network_of_one_layer_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="it gives the model's answer"):
        prune(nn.Sequential(nn.Linear(6, 2)), networks.vectors())


def test_a_layer_that_stays_whole_is_in_the_record_with_its_reason() -> None:
    record = prune(networks.HandAttention(), networks.sequences())
    whole = {whole.name: whole.reason for whole in record.whole}
    assert set(whole) == {"value", "head"}


class Turns(nn.Module):
    """Takes another way for rows in which the first number is large."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.extra = nn.Linear(6, 16), nn.Linear(16, 16)
        self.other, self.head = nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.inner(values))
        if float(values[:, 0].max()) > 5.0:
            hidden = hidden + self.extra(hidden)
        return self.head(torch.relu(self.other(hidden)))  # type: ignore[no-any-return]


def test_a_way_that_some_rows_take_keeps_whole_what_lies_on_it() -> None:
    split = networks.vectors()
    # Not among the rows that are traced, which are the first.
    split.inputs["values"][40, 0] = 9.0
    record = prune(network.build(Turns, seed=0), split)
    assert [group.name for group in record.groups] == ["other"]
    assert {"inner"} <= {whole.name for whole in record.whole}


def test_numbers_of_64_bits_are_pruned_too() -> None:
    split = networks.vectors()
    wide = project.Split(
        inputs={"values": split.inputs["values"].astype(np.float64)}, targets=split.targets
    )
    plan = recipe.Recipe(criterion="group-lasso", amount=0.5, finetune_epochs=1)
    teacher, model = networks.mlp().double().eval(), networks.mlp().double()
    course = recovery.Course(
        recipe=plan,
        task="binary",
        seed=0,
        section=settings.TrainSettings(),
        teacher=teacher,
        training=wide,
        recovery=wide,
    )
    assert course.prune(model).cuts
    course.recover(model)
    assert answers(model, wide).dtype == torch.float64


def test_a_regression_is_cut_too() -> None:
    model = networks.mlp(outputs=1)
    plan = recipe.Recipe(criterion="taylor")
    assert prune(model, networks.amounts(), plan, task="regression").cuts


def test_scores_that_are_no_numbers_are_refused() -> None:
    model = networks.mlp()
    torch.nn.init.constant_(model[0].weight, float("inf"))
    with pytest.raises(errors.PruningError, match="not finite"):
        prune(model, networks.vectors(), recipe.Recipe(criterion="magnitude"))


def test_pruned_models_are_freed() -> None:
    seen = []
    for seed in range(3):
        model = network.build(networks.Transformer, seed=seed)
        prune(model, networks.sequences())
        seen.append(weakref.ref(model))
        del model
    gc.collect()
    assert [reference() for reference in seen] == [None, None, None]


def test_pruning_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    prune(networks.mlp().eval(), networks.vectors(), recipe.Recipe(criterion="random"))
    # Building the model draws from it; pruning must not.
    torch.random.set_rng_state(state)
    model = networks.mlp()
    after_build = torch.random.get_rng_state()
    prune(model, networks.vectors(), recipe.Recipe(criterion="random"))
    assert torch.equal(after_build, torch.random.get_rng_state())


def test_the_cost_of_a_dense_network_is_its_products() -> None:
    found = schedule.cost(networks.mlp(), networks.vectors())
    # 6 * 32 + 32 * 24 + 24 * 2 products; each layer's biases are parameters too.
    assert found == schedule.Cost(macs=1008, parameters=1008 + 32 + 24 + 2)


def test_the_cost_of_a_convolution_counts_every_place() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Flatten())
    # 4 filters of 9 weights at 8 * 8 places.
    assert schedule.cost(model, networks.rows()) == schedule.Cost(macs=4 * 9 * 64, parameters=36)


def test_attention_counts_in_the_cost() -> None:
    found = schedule.cost(networks.Transformer(), networks.sequences())
    # Per token: query, key, value 3 * 32 * 32, output 32 * 32, feed-forward 2 * 32 * 64; 5 tokens.
    # Attention: 2 products of 5 * 5 * 32. Head: 32 * 2.
    assert found.macs == 5 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 5 * 5 * 32 + 64


def test_a_recurrent_layer_counts_in_the_cost() -> None:
    lstm = architectures.ARCHITECTURES["lstm"]
    found = schedule.cost(lstm.model(), lstm.data().train)
    # At each of 6 steps 4 gates of 24 units read 4 signals and 24 states. Head: 24 * 2.
    assert found.macs == 6 * 4 * 24 * (4 + 24) + 48


def test_the_cost_is_lower_after_a_cut() -> None:
    model = network.build(networks.Residual, seed=0)
    split = networks.rows()
    before = schedule.cost(model, split)
    prune(model, split)
    after = schedule.cost(model, split)
    assert after.macs < before.macs
    assert after.parameters < before.parameters


def test_counting_leaves_the_mode_alone() -> None:
    model = networks.mlp().train()
    schedule.cost(model, networks.vectors())
    assert model.training


def test_the_trace_takes_a_split_of_one_row() -> None:
    split = networks.vectors().take(np.array([0]))
    assert prune(networks.mlp(), split, recipe.Recipe(criterion="magnitude")).cuts
