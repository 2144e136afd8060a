from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from coppice import artifact, errors
from retrain import network, weights
from retrain.pruning import recipe, schedule
from tests.support import networks


def test_weights_survive_the_disk_bit_for_bit(tmp_path: Path) -> None:
    model = network.build(networks.Residual, seed=1)
    weights.save(model, tmp_path / "w.safetensors")
    loaded = weights.load(network.build(networks.Residual, seed=2), tmp_path / "w.safetensors")
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in model.state_dict().items())


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def test_tied_weights_are_saved_and_stay_tied(tmp_path: Path) -> None:
    model = tied()
    weights.save(model, tmp_path / "w.safetensors")
    loaded = weights.load(tied(), tmp_path / "w.safetensors")
    assert loaded[0].weight is loaded[1].weight
    assert torch.equal(loaded[0].weight, model[0].weight)


def test_weights_that_do_not_lie_in_order_are_saved(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].weight = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    weights.save(model, tmp_path / "w.safetensors")
    loaded = weights.load(nn.Sequential(nn.Linear(2, 3)), tmp_path / "w.safetensors")
    assert torch.equal(loaded[0].weight, model[0].weight)


class Stateful(nn.Linear):
    def get_extra_state(self) -> str:
        return "note"


def test_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ProjectError, match="'_extra_state' is str, not a tensor"):
        weights.save(Stateful(2, 2), tmp_path / "w.safetensors")


def test_a_missing_file_says_which_setting_to_check(tmp_path: Path) -> None:
    with pytest.raises(errors.ProjectError, match=r"no weights at .*check `project.checkpoint`"):
        weights.load(networks.mlp(), tmp_path / "none.safetensors")


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(networks.mlp().state_dict(), path)
    with pytest.raises(errors.ProjectError, match="is not a safetensors file"):
        weights.load(networks.mlp(), path)


def test_a_missing_name_is_reported_with_the_nearest(tmp_path: Path) -> None:
    weights.save(nn.ModuleDict({"head_": nn.Linear(2, 2)}), tmp_path / "w.safetensors")
    model = nn.ModuleDict({"head": nn.Linear(2, 2)})
    with pytest.raises(errors.ProjectError, match=r"'head.weight' is missing; the file has 'head_"):
        weights.load(model, tmp_path / "w.safetensors")


def test_a_shape_that_differs_is_reported_with_both(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 3), tmp_path / "w.safetensors")
    with pytest.raises(
        errors.ProjectError, match=r"'weight' has shape \(3, 2\), the model needs \(4, 2\)"
    ):
        weights.load(nn.Linear(2, 4), tmp_path / "w.safetensors")


def test_a_name_too_many_is_reported(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 3), tmp_path / "w.safetensors")
    with pytest.raises(errors.ProjectError, match="'bias' is not in the model"):
        weights.load(nn.Linear(2, 3, bias=False), tmp_path / "w.safetensors")


def test_only_the_first_problems_are_listed(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 2), tmp_path / "w.safetensors")
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(7)))
    # 14 names are missing and 2 too many: 10 are shown.
    with pytest.raises(errors.ProjectError, match="and 6 more"):
        weights.load(model, tmp_path / "w.safetensors")


def test_a_refused_load_leaves_the_model_alone(tmp_path: Path) -> None:
    weights.save(nn.Linear(2, 2), tmp_path / "w.safetensors")
    model = nn.Linear(2, 2, bias=False)
    before = model.weight.clone()
    with pytest.raises(errors.ProjectError):
        weights.load(model, tmp_path / "w.safetensors")
    assert torch.equal(model.weight, before)


def test_a_pruned_model_is_rebuilt_from_its_folder(tmp_path: Path) -> None:
    split = networks.rows()
    model = network.build(networks.Residual, seed=0)
    plan = recipe.Recipe(align=4)
    record = schedule.prune(model, split, plan, task="multiclass", seed=0)
    weights.save(model, tmp_path / artifact.WEIGHTS)
    (tmp_path / artifact.SURGERY).write_text(record.to_json())
    rebuilt = weights.rebuild(networks.Residual, tmp_path)
    tensors = network.to_tensors(split.inputs)
    with torch.no_grad():
        assert torch.equal(network.call(rebuilt, tensors), network.call(model, tensors))


def test_a_dense_model_is_rebuilt_without_a_record(tmp_path: Path) -> None:
    model = network.build(networks.mlp, seed=0)
    weights.save(model, tmp_path / artifact.WEIGHTS)
    rebuilt = weights.rebuild(networks.mlp, tmp_path)
    assert torch.equal(rebuilt[0].weight, model[0].weight)
    assert not rebuilt.training


def test_a_factory_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    model = network.build(networks.mlp, seed=0)
    record = schedule.prune(model, networks.vectors(), recipe.Recipe(), task="binary", seed=0)
    weights.save(model, tmp_path / artifact.WEIGHTS)
    (tmp_path / artifact.SURGERY).write_text(record.to_json())
    with pytest.raises(errors.PruningError, match="does not give the model that was pruned"):
        weights.rebuild(networks.Residual, tmp_path)
