from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from coppice import errors
from retrain.pruning import groups, surgery

HIDDEN = groups.CoupledGroup(
    "0",
    4,
    (
        groups.Axis("0.weight", 0, (0, 1, 2, 3)),
        groups.Axis("0.bias", 0, (0, 1, 2, 3)),
        groups.Axis("0.out_features", None, (0, 1, 2, 3)),
        groups.Axis("2.weight", 1, (0, 1, 2, 3)),
        groups.Axis("2.in_features", None, (0, 1, 2, 3)),
    ),
)


def network(hidden: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 2))


def record(*kept: int) -> surgery.Surgery:
    return surgery.plan(network(), [(HIDDEN, kept or (1, 3))])


def test_a_plan_shares_the_selection_between_coupled_tensors() -> None:
    assert record().selections == (surgery.Selection(4, (1, 3)),)
    assert record().cuts == (
        surgery.Cut("0.weight", 0, 0),
        surgery.Cut("0.bias", 0, 0),
        surgery.Cut("2.weight", 1, 0),
    )


def test_a_plan_says_the_counts_before_and_after() -> None:
    assert record().attributes == (
        surgery.Attribute("0", "out_features", 4, 2),
        surgery.Attribute("2", "in_features", 4, 2),
    )
    assert record().groups == (surgery.GroupRecord("0", 4, 2),)


def test_a_plan_does_not_touch_the_model() -> None:
    model = network()
    surgery.plan(model, [(HIDDEN, (0,))])
    assert model[0].weight.shape == (4, 3)


def test_a_group_that_stays_whole_is_not_cut() -> None:
    whole = record(0, 1, 2, 3)
    assert (whole.cuts, whole.attributes) == ((), ())
    assert whole.groups == (surgery.GroupRecord("0", 4, 4),)


def test_a_dimension_shared_by_two_groups_loses_what_each_removes() -> None:
    nobody = groups.NOBODY
    first = groups.CoupledGroup("x", 2, (groups.Axis("0.weight", 1, (0, 1, nobody)),))
    second = groups.CoupledGroup("y", 1, (groups.Axis("0.weight", 1, (nobody, nobody, 0)),))
    planned = surgery.plan(network(), [(first, (1,)), (second, ())])
    assert planned.selections == (surgery.Selection(3, (1,)),)


def test_replaying_keeps_the_chosen_slices() -> None:
    model = network()
    weight, column = model[0].weight.detach().clone(), model[2].weight.detach().clone()
    surgery.replay(model, record())
    assert torch.equal(model[0].weight, weight[[1, 3]])
    assert torch.equal(model[2].weight, column[:, [1, 3]])
    assert (model[0].out_features, model[2].in_features) == (2, 2)


def test_replaying_keeps_parameters_parameters_and_buffers_buffers() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    group = groups.CoupledGroup(
        "0",
        3,
        (groups.Axis("0.weight", 0, (0, 1, 2)), groups.Axis("0.running_mean", 0, (0, 1, 2))),
    )
    surgery.replay(model, surgery.plan(model, [(group, (0, 2))]))
    assert dict(model.named_parameters())["0.weight"].shape == (2,)
    assert dict(model.named_buffers())["0.running_mean"].shape == (2,)


def test_replaying_keeps_frozen_parameters_frozen() -> None:
    model = network().requires_grad_(requires_grad=False)
    surgery.replay(model, record())
    assert [parameter.requires_grad for parameter in model.parameters()] == [False] * 4


def test_a_record_survives_json() -> None:
    given = surgery.with_whole(record(), [surgery.Whole("2", "it gives the model's answer")])
    assert surgery.Surgery.from_json(given.to_json()) == given


def test_a_shape_survives_json_as_a_shape() -> None:
    given = surgery.Surgery(attributes=(surgery.Attribute("n", "normalized_shape", (8,), (4,)),))
    assert surgery.Surgery.from_json(given.to_json()) == given


def test_the_json_names_tensors_and_nothing_of_a_library() -> None:
    tree = json.loads(record().to_json())
    assert tree["schema"] == 2
    assert tree["cuts"][0] == {"tensor": "0.weight", "dim": 0, "selection": 0}


def test_another_schema_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="schema 3, this version reads 1 and 2"):
        surgery.Surgery.from_json('{"schema": 3}')


@pytest.mark.parametrize("text", ["", "[]", '{"cuts": 1}', b"\x80\x04K\x01."])
def test_text_that_is_no_record_is_refused(text: str | bytes) -> None:
    with pytest.raises(errors.PruningError, match="cannot be read"):
        surgery.Surgery.from_json(text)


def test_a_factory_of_another_size_is_refused_by_the_module_that_differs() -> None:
    with pytest.raises(errors.PruningError, match="at '0', weight has shape"):
        surgery.replay(network(hidden=5), record())


def test_a_factory_without_the_module_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="at '2', the model has no such module"):
        surgery.replay(network()[:2], record())


def test_a_factory_without_the_tensor_is_refused() -> None:
    other = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(errors.PruningError, match="at '0', it has no tensor 'bias'"):
        surgery.replay(other, record())


def test_a_module_whose_count_differs_is_refused() -> None:
    model = network()
    model[2].in_features = 7
    with pytest.raises(errors.PruningError, match="at '2', in_features is 7, expected 4"):
        surgery.replay(model, record())


def test_a_refused_replay_has_changed_nothing() -> None:
    model = network()
    model[2].in_features = 7
    with pytest.raises(errors.PruningError):
        surgery.replay(model, record())
    assert model[0].weight.shape == (4, 3)


def test_replaying_twice_on_one_model_is_refused() -> None:
    model = surgery.replay(network(), record())
    with pytest.raises(errors.PruningError, match="does not give the model that was pruned"):
        surgery.replay(model, record())


def test_masking_zeroes_what_would_go_and_copies_the_rest() -> None:
    model = network()
    tensors = dict(model.named_parameters())
    masked = surgery.masked(tensors, record())
    assert masked["0.weight"][[0, 2]].abs().sum() == 0
    assert torch.equal(masked["0.weight"][[1, 3]], model[0].weight.detach()[[1, 3]])
    assert torch.equal(masked["2.bias"], model[2].bias.detach())
    assert model[0].weight.abs().sum() > 0


def test_the_head_size_follows_the_width() -> None:
    model = nn.Sequential(nn.MultiheadAttention(8, 2))
    axis = groups.Axis("0.head_dim", None, tuple(range(8)))
    planned = surgery.plan(model, [(groups.CoupledGroup("0", 8, (axis,)), (0, 1, 4, 5))])
    # 4 of 8 channels stay in 2 heads: 2 each instead of 4.
    assert planned.attributes == (surgery.Attribute("0", "head_dim", 4, 2),)


def kept(record: surgery.Surgery, tensor: str, dim: int) -> tuple[int, ...]:
    found = {(cut.tensor, cut.dim): record.selections[cut.selection] for cut in record.cuts}
    return found[tensor, dim].keep


def cut_once(size: int, keep: tuple[int, ...]) -> surgery.Surgery:
    return surgery.Surgery(
        selections=(surgery.Selection(size, keep),),
        cuts=(surgery.Cut("0.weight", 0, 0),),
        attributes=(surgery.Attribute("0", "out_features", size, len(keep)),),
        groups=(surgery.GroupRecord("0", size, len(keep)),),
    )


def test_two_cuts_compose_in_the_numbering_of_the_uncut_model() -> None:
    both = surgery.compose(cut_once(6, (0, 2, 3, 5)), cut_once(4, (1, 3)))
    # The second keeps places 1 and 3 of what the first left: the old indices 2 and 5.
    assert kept(both, "0.weight", 0) == (2, 5)
    assert both.attributes == (surgery.Attribute("0", "out_features", 6, 2),)
    assert both.groups == (surgery.GroupRecord("0", 6, 2),)


def test_cuts_of_different_tensors_compose_side_by_side() -> None:
    other = surgery.Surgery(
        selections=(surgery.Selection(3, (0, 2)),), cuts=(surgery.Cut("2.weight", 1, 0),)
    )
    both = surgery.compose(cut_once(6, (0, 1)), other)
    assert kept(both, "0.weight", 0) == (0, 1)
    assert kept(both, "2.weight", 1) == (0, 2)


def test_composing_with_nothing_changes_nothing() -> None:
    assert surgery.compose(surgery.Surgery(), record()) == record()
    assert surgery.compose(record(), surgery.Surgery()) == record()


def test_what_a_removed_module_held_is_forgotten() -> None:
    gone = surgery.Surgery(removed=(surgery.Removed("0"),))
    both = surgery.compose(cut_once(6, (0, 1)), gone)
    assert both == surgery.Surgery(removed=(surgery.Removed("0"),))


def test_a_removed_module_gives_on_what_it_reads() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    surgery.replay(model, surgery.Surgery(removed=(surgery.Removed("0"),)))
    assert model(torch.tensor([[-1.0, 3.0]])).tolist() == [[0.0, 3.0]]


def test_a_module_to_remove_that_is_not_there_is_refused() -> None:
    with pytest.raises(errors.PruningError, match="no such module"):
        surgery.replay(nn.Sequential(), surgery.Surgery(removed=(surgery.Removed("0"),)))


def test_a_record_of_the_first_schema_is_read() -> None:
    assert surgery.Surgery.from_json('{"schema": 1}') == surgery.Surgery(schema=1)


def test_a_record_that_only_masks_changes_something() -> None:
    masked = surgery.Surgery(masks=(surgery.Masked("0.weight", 1, 2, "unstructured"),))
    assert not masked.changes_nothing
    assert surgery.Surgery().changes_nothing
