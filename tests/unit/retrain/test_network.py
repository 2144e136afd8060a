from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from coppice import errors
from retrain import network
from tests.support import networks


def test_a_model_is_built_with_the_same_weights_for_the_same_seed() -> None:
    first, second = (network.build(networks.mlp, seed=7) for _ in "ab")
    assert torch.equal(first[0].weight, second[0].weight)


def test_another_seed_builds_other_weights() -> None:
    first, second = (network.build(networks.mlp, seed=seed) for seed in (7, 8))
    assert not torch.equal(first[0].weight, second[0].weight)


def test_building_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    network.build(networks.mlp, seed=7)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_factory_that_raises_is_named_with_its_reason() -> None:
    def build_model() -> nn.Module:
        return nn.Linear(*[int(word) for word in ("two", "3")])

    with pytest.raises(errors.ProjectError, match=r"build_model\(\) raised ValueError: invalid"):
        network.build(build_model, seed=0)


def test_a_factory_that_gives_no_module_is_refused() -> None:
    with pytest.raises(errors.ProjectError, match="returned dict, not a torch"):
        network.build(dict, seed=0)


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 2))


def test_a_layer_without_weights_is_refused_with_what_to_do() -> None:
    with pytest.raises(errors.ProjectError, match="'0' is a LazyLinear; give it its sizes"):
        network.build(lazy, seed=0)


def test_a_lazy_layer_that_the_factory_has_asked_is_like_any_other() -> None:
    def build_model() -> nn.Module:
        model = lazy()
        model(torch.zeros(1, 6))
        return model

    assert network.build(build_model, seed=0).get_parameter("0.weight").shape == (4, 6)


class Padded(nn.Module):
    """Sums up what an encoder gives, padded places too."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        padding = torch.tensor([[False, False, True]]).expand(len(steps), 3)
        return self.encoder(steps, src_key_padding_mask=padding).sum(dim=1)  # type: ignore[no-any-return]


def test_an_encoder_answers_alike_whether_or_not_gradients_are_on() -> None:
    model = network.build(Padded, seed=0).eval()
    steps = torch.rand(2, 3, 8)
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        # torch's fused layer would give zeros for the padded place.
        found = network.call(model, {"steps": steps})
    torch.testing.assert_close(found, model(steps), atol=1e-5, rtol=1e-4)
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_arrays_keep_their_type(dtype: str) -> None:
    array = np.zeros((2, 3), dtype=dtype)
    assert str(network.to_tensors({"x": array})["x"].dtype) == f"torch.{dtype}"


def test_a_read_only_array_becomes_a_tensor_without_a_warning() -> None:
    array = np.arange(3.0)
    array.setflags(write=False)
    assert network.to_tensors({"x": array})["x"].tolist() == [0.0, 1.0, 2.0]


def test_text_is_refused_by_the_input_s_name() -> None:
    with pytest.raises(errors.ProjectError, match="input 'name' has dtype <U1"):
        network.to_tensors({"name": np.array(["a"])})


def test_one_input_is_given_by_position_whatever_its_name() -> None:
    answers = network.call(networks.mlp(), {"anything": torch.zeros(2, 6)})
    assert answers.shape == (2, 2)


def test_several_inputs_are_given_by_name() -> None:
    tensors = network.to_tensors(networks.pairs().inputs)
    swapped = dict(reversed(tensors.items()))
    model = networks.TwoInputs().eval()
    assert torch.equal(network.call(model, tensors), network.call(model, swapped))


class Answers(nn.Module):
    """Gives whatever it is told to."""

    def __init__(self, answer: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, values: torch.Tensor) -> object:
        return self.answer(values)


def test_a_model_that_gives_no_tensor_is_refused() -> None:
    with pytest.raises(errors.ProjectError, match="returned tuple; it must return one tensor"):
        network.call(Answers(lambda values: (values, values)), {"x": torch.zeros(1, 2)})


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_regression_values_come_as_one_number_per_row(shape: tuple[int, ...]) -> None:
    assert network.shaped(torch.zeros(shape), "regression").shape == (5,)


@pytest.mark.parametrize("shape", [(5, 2), (5, 1, 1), ()])
def test_other_shapes_are_no_regression(shape: tuple[int, ...]) -> None:
    with pytest.raises(errors.ProjectError, match=r"needs \[rows\] or \[rows, 1\]"):
        network.shaped(torch.zeros(shape), "regression")


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3, 3)])
def test_a_single_logit_is_refused_with_what_to_do(shape: tuple[int, ...]) -> None:
    with pytest.raises(errors.ProjectError, match=r"end a binary model in nn.Linear\(..., 2\)"):
        network.shaped(torch.zeros(shape), "binary")


def test_a_model_that_fits_its_data_passes_the_check() -> None:
    network.check(networks.mlp(), networks.vectors(), "binary", classes=2)


def test_a_model_with_too_few_classes_is_found_by_the_targets() -> None:
    with pytest.raises(errors.ProjectError, match="answers with 2 classes, the data has 3"):
        network.check(networks.mlp(64), flat_rows(), "multiclass")


def test_a_model_with_more_classes_than_are_named_is_refused() -> None:
    with pytest.raises(errors.ProjectError, match="answers with 4 classes, the data has 3"):
        network.check(networks.mlp(64, 4), flat_rows(), "multiclass", classes=3)


def flat_rows() -> networks.project.Split:
    split = networks.rows()
    flat = split.inputs["image"].reshape(split.rows, -1)
    return networks.project.Split(inputs={"x": flat}, targets=split.targets)


def test_a_model_that_does_not_take_the_inputs_is_named_with_their_shapes() -> None:
    with pytest.raises(errors.ProjectError, match=r"raised RuntimeError on inputs .*float32.* 6"):
        network.check(networks.mlp(inputs=5), networks.vectors(), "binary")


def test_numbers_of_64_bits_come_with_what_to_do() -> None:
    split = networks.vectors()
    wide = {name: values.astype(np.float64) for name, values in split.inputs.items()}
    doubled = networks.project.Split(inputs=wide, targets=split.targets)
    with pytest.raises(errors.ProjectError, match=r"unless you say otherwise: \.astype"):
        network.check(networks.mlp(), doubled, "binary")


class Codes(nn.Module):
    """Embeds codes 0 to 3, and answers two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 2)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.table(codes).sum(dim=1)


def coded(last: int, columns: int) -> networks.project.Split:
    """Eight rows of codes 0, but for one in the last column of row 5."""
    codes = np.zeros((8, columns), np.int64)
    codes[5, -1] = last
    return networks.project.Split(inputs={"codes": codes}, targets=np.arange(8) % 2)


@pytest.mark.parametrize("columns", [3, network.MOST_COLUMNS + 1])
@pytest.mark.parametrize("code", [-1, 4])
def test_a_code_that_the_model_does_not_know_is_found_in_whichever_row(
    code: int, columns: int
) -> None:
    span = f"from {min(code, 0)} to {max(code, 0)}"
    with pytest.raises(errors.ProjectError, match=rf"raised IndexError on inputs .*{span}"):
        network.check(Codes(), coded(code, columns), "binary")


@pytest.mark.parametrize("columns", [3, network.MOST_COLUMNS + 1])
def test_the_largest_code_that_the_model_knows_passes(columns: int) -> None:
    network.check(Codes(), coded(3, columns), "binary")


def test_the_check_leaves_the_mode_alone() -> None:
    model = networks.mlp().train()
    network.check(model, networks.vectors(), "binary")
    assert model.training


def test_seeding_is_confined_to_its_block() -> None:
    state = torch.random.get_rng_state()
    with network.seeded(5):
        first = torch.rand(1)
    with network.seeded(5):
        second = torch.rand(1)
    assert torch.equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


def test_training_uses_as_many_threads_as_allowed_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    with network.on_cores(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
