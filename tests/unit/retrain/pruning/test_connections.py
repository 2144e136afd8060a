from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from coppice import errors, project
from retrain import network, train
from retrain.pruning import connections, recipe, schedule, surgery
from tests.support import architectures, networks

NETS = architectures.ARCHITECTURES


def step(**fields: Any) -> recipe.Step:
    return recipe.Step(**{"level": "connection", "criterion": "magnitude", **fields})


def prune(
    model: nn.Module, split: project.Split | None = None, *, tune: Any = None, **fields: Any
) -> surgery.Surgery:
    plan = recipe.Recipe(**{"level": "connection", "criterion": "magnitude", **fields})
    return schedule.prune(
        model.eval(),
        split or networks.vectors(),
        plan,
        task="multiclass",
        seed=0,
        tune=tune or schedule.untrained,
    )


def zeros(model: nn.Module, tensor: str) -> int:
    return int((model.get_parameter(tensor) == 0).sum())


def by_name(record: surgery.Surgery) -> dict[str, tuple[int, int, str]]:
    return {mask.tensor: (mask.kept, mask.size, mask.pattern) for mask in record.masks}


def trainer(split: project.Split) -> Any:
    def tune(model: nn.Module, epochs: int, *, penalty: Any = None, after_step: Any = None) -> None:
        plan = train.FitPlan(
            task="multiclass",
            epochs=epochs,
            batch_size=32,
            learning_rate=0.05,
            penalty=penalty,
            after_step=after_step,
        )
        train.fit(model, split, plan)

    return tune


def test_half_of_the_weights_of_each_tensor_go() -> None:
    model = networks.mlp()
    record = prune(model)
    # 6 * 32, 32 * 24 and 24 * 2 weights.
    assert by_name(record) == {
        "0.weight": (96, 192, "unstructured"),
        "2.weight": (384, 768, "unstructured"),
        "4.weight": (24, 48, "unstructured"),
    }
    assert [zeros(model, name) for name in by_name(record)] == [96, 384, 24]


def test_the_smallest_go_and_the_others_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -5.0, 2.0], [6.0, 3.0, -4.0]]))
    prune(model, networks.vectors(width=3))
    assert model[0].weight.tolist() == [[0.0, -5.0, 0.0], [6.0, 0.0, -4.0]]


def test_biases_and_norms_stay() -> None:
    model = NETS["residual-cnn"].model()
    before = copy.deepcopy(model.state_dict())
    record = prune(model, NETS["residual-cnn"].data().train, batch_norm_rows=1)
    others = [name for name, each in model.named_parameters() if each.ndim == 1]
    assert len(others) == 16  # 7 norms of two tensors, the shortcut's and the head's bias
    assert all(torch.equal(before[name], model.get_parameter(name)) for name in others)
    assert all(name.endswith("weight") for name in by_name(record))


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("gru", {"project.weight", "cells.weight_ih_l0", "cells.weight_hh_l0", "head.weight"}),
        (
            "attention-block",
            {"project.weight", "head.weight"}
            | {
                f"blocks.{place}.{part}"
                for place in (0, 1)
                for part in (
                    "attend.in_proj_weight",
                    "attend.out_proj.weight",
                    "wide.0.weight",
                    "wide.2.weight",
                )
            },
        ),
        ("recommender", {"tower.0.weight", "tower.2.weight", "head.weight"}),
    ],
)
def test_weights_of_products_are_taken_and_embeddings_are_not(name: str, tensors: set[str]) -> None:
    found = connections.find(NETS[name].model(), step())
    assert set(found.weights) == tensors


def test_an_embedding_is_left_with_the_reason_and_taken_where_it_is_named() -> None:
    model = NETS["recommender"].model()
    whole = {each.name: each.reason for each in connections.find(model, step()).whole}
    named = connections.find(model, step(amounts={"users.weight": 0.3}))
    assert set(whole) == {"users.weight", "items.weight"}
    assert "name it in amounts" in whole["users.weight"]
    assert "users.weight" in named.weights
    assert [each.name for each in named.whole] == ["items.weight"]


def test_a_shared_tensor_counts_once_and_as_an_embedding() -> None:
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4), nn.Linear(4, 8, bias=False))
    model[2].weight = model[0].weight
    found = connections.find(model, step())
    assert set(found.weights) == {"1.weight"}
    assert [each.name for each in found.whole] == ["0.weight"]


def test_the_positions_of_a_model_are_no_weights_of_a_product() -> None:
    assert "positions" not in connections.find(NETS["transformer"].model(), step()).weights


def test_single_tensors_can_have_amounts_of_their_own() -> None:
    model = networks.mlp()
    record = prune(model, amounts={"0.weight": 0.0, "2.weight": 0.75})
    assert by_name(record) == {
        "2.weight": (192, 768, "unstructured"),
        "4.weight": (24, 48, "unstructured"),
    }


def test_all_together_the_smallest_of_all_tensors_go_but_of_none_the_last() -> None:
    model = networks.mlp()
    with torch.no_grad():
        model[0].weight.mul_(1e-6)
    record = prune(model, scope="global", amount=0.5)
    # 504 of 1,008 weights go: 191 of the small tensor's 192, the rest of the others.
    kept = {name: counts[0] for name, counts in by_name(record).items()}
    assert kept["0.weight"] == 1
    assert sum(kept.values()) == 504


def test_of_a_tensor_the_last_weight_stays() -> None:
    model = networks.mlp()
    record = prune(model, amount=0.999)
    assert [kept for kept, _, _ in by_name(record).values()] == [1, 1, 1]


def test_of_every_four_neighbours_two_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -3.0, 2.0, 0.5]]))
    record = prune(model, networks.vectors(width=4), pattern="2:4")
    assert model[0].weight.tolist() == [[0.0, -3.0, 2.0, 0.0]]
    assert by_name(record) == {"0.weight": (2, 4, "2:4")}
    assert [whole.name for whole in record.whole] == ["1.weight"]
    assert "no multiple of 4" in record.whole[0].reason


def test_the_neighbours_of_a_filter_are_its_own() -> None:
    model = NETS["residual-cnn"].model()
    record = prune(model, NETS["residual-cnn"].data().train, pattern="1:4", amount=0.75)
    runs = model.blocks[0].first.weight.detach().reshape(-1, 4)  # 16 * 9 weights in a row
    assert runs.count_nonzero(dim=1).eq(1).all()
    assert by_name(record)["blocks.0.first.weight"] == (576, 2304, "1:4")
    assert "stem.0.weight" in {whole.name for whole in record.whole}  # rows of 9


def test_a_pattern_is_reached_by_and_by() -> None:
    seen: list[list[int]] = []
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    def tune(module: nn.Module, epochs: int, **named: Any) -> None:
        del epochs, named
        seen.append(module[0].weight.reshape(-1, 4).count_nonzero(dim=1).unique().tolist())  # type: ignore[index]

    record = prune(
        model,
        networks.vectors(width=8),
        pattern="1:4",
        amount=0.75,
        schedule="iterative",
        tune=tune,
    )
    # Of the 3 that go, one with each of the 3 cuts.
    assert seen == [[3], [2]]
    assert by_name(record)["0.weight"] == (16, 64, "1:4")


@pytest.mark.parametrize(
    ("how", "after"),
    [
        ({"schedule": "iterative", "rounds": 2}, [48]),  # half of the 96 of 192 that are due
        ({"schedule": "gradual", "rounds": 3}, [68, 92]),  # 96 times 19/27 and 26/27
    ],
)
def test_the_rounds_of_a_schedule_remove_ever_more(how: dict[str, Any], after: list[int]) -> None:
    seen: list[int] = []
    model = networks.mlp()

    def tune(module: nn.Module, epochs: int, **named: Any) -> None:
        del epochs, named
        seen.append(zeros(module, "0.weight"))

    prune(model, tune=tune, **how)
    assert seen == after
    assert zeros(model, "0.weight") == 96


def test_zeros_stay_zero_through_the_training_between_cuts_and_after() -> None:
    model = networks.mlp()
    tune = trainer(networks.vectors())
    record = prune(model, tune=tune, schedule="iterative", rounds=3)
    gone = {mask.tensor: model.get_parameter(mask.tensor) == 0 for mask in record.masks}
    before = copy.deepcopy(model.state_dict())
    tune(model, 2, after_step=connections.keeper(model, [step()]))
    assert all(model.get_parameter(name)[zero].eq(0).all() for name, zero in gone.items())
    assert not torch.equal(before["0.weight"], model[0].weight)
    assert by_name(record)["0.weight"] == (96, 192, "unstructured")


def test_without_a_keeper_the_zeros_would_be_lost() -> None:
    model = networks.mlp()
    prune(model)
    trainer(networks.vectors())(model, 1)
    assert zeros(model, "0.weight") < 96


def test_nothing_is_kept_where_no_step_prunes_weights() -> None:
    model = networks.mlp()
    prune(model)
    assert connections.keeper(model, [recipe.Step(level="neuron")]) is None
    assert connections.keeper(networks.mlp(), [step()]) is None


def test_a_second_step_removes_a_share_of_what_the_first_has_left() -> None:
    model = networks.mlp()
    record = prune(model, then=(step(amount=0.5),))
    # A half of a half of 192 stays.
    assert by_name(record)["0.weight"] == (48, 192, "unstructured")


def test_a_later_cut_of_channels_takes_the_zeros_along() -> None:
    model = networks.mlp()
    later = recipe.Step(level="neuron", criterion="magnitude", amount=0.5)
    record = prune(model, amount=0.75, then=(later,))
    assert model[2].weight.shape == (16, 16)
    assert by_name(record) == {
        name: (size - zeros(model, name), size, "unstructured")
        for name, size in {"0.weight": 96, "2.weight": 256, "4.weight": 32}.items()
    }
    assert zeros(model, "2.weight") > 100


def test_a_cut_that_breaks_a_pattern_is_told_in_the_record() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    later = recipe.Step(level="neuron", criterion="magnitude", amount=0.25, align=1)
    record = prune(model, networks.vectors(width=8), pattern="2:4", then=(later,))
    patterns = {name: pattern for name, (_, _, pattern) in by_name(record).items()}
    # The first reads the inputs, which stay; the second reads 6 of 8 channels.
    assert patterns == {
        "0.weight": "2:4",
        "2.weight": "unstructured",
        "4.weight": "unstructured",
    }


def test_what_a_removed_block_held_is_in_no_mask() -> None:
    net = NETS["residual-cnn"]
    model = net.model()
    later = recipe.Step(level="layer", criterion="magnitude", amount=0.9)
    record = prune(model, net.data().train, then=(later,))
    assert {"stem.0.weight", "blocks.1.first.weight"} <= set(by_name(record))
    assert not [name for name in by_name(record) if name.startswith(("blocks.0", "blocks.2"))]


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_record_and_the_weights_replay_bit_for_bit(name: str) -> None:
    net = NETS[name]
    model, fresh = net.model(), net.model(seed=1)
    plan = recipe.Recipe(level="connection", criterion="magnitude", amount=0.7)
    record = schedule.prune(model, net.data().train, plan, task=net.task, seed=0)
    surgery.replay(fresh, surgery.Surgery.from_json(record.to_json()))
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(network.call(fresh, net.rows()), network.call(model, net.rows()))
    assert all(zeros(fresh, m.tensor) == m.size - m.kept > 0 for m in record.masks)


def test_the_amount_zero_changes_nothing() -> None:
    model = networks.mlp()
    assert prune(model, amount=0.0) == surgery.Surgery()
    assert zeros(model, "0.weight") == 0


def test_a_network_without_such_weights_is_refused() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.table(tokens).mean(dim=1)  # type: ignore[no-any-return]

    with pytest.raises(errors.PruningError, match=r"'table.weight': rows of an embedding"):
        prune(Table(), networks.sequences())


def test_a_pattern_that_fits_no_tensor_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="rows of 6 weights are no multiple of 16"):
        prune(nn.Sequential(nn.Linear(6, 2)), pattern="8:16")


def test_transposed_convolutions_are_pruned_but_by_no_pattern() -> None:
    model = nn.Sequential(nn.ConvTranspose1d(4, 4, 2), nn.Linear(4, 4))
    assert set(connections.find(model, step()).weights) == {"0.weight", "1.weight"}
    assert set(connections.find(model, step(pattern="2:4")).weights) == {"1.weight"}


def test_weights_that_are_computed_are_refused() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 2))
    with pytest.raises(errors.PruningError, match="remove_parametrizations"):
        prune(model)


def test_the_scope_of_a_criterion_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="use scope local or global"):
        prune(networks.mlp(), scope="criterion")


def test_scores_that_are_no_numbers_are_refused() -> None:
    model = networks.mlp()
    nn.init.constant_(model[0].weight, float("inf"))
    with pytest.raises(errors.PruningError, match="scores that are not finite"):
        prune(model)


def test_a_tensor_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(errors.PruningError, match=r"did you mean '2.weight'\?"):
        prune(networks.mlp(), amounts={"2.weights": 0.9})
