from __future__ import annotations

import numpy as np
import pytest

from coppice import project
from retrain import reference


def test_inputs_are_described_in_their_order() -> None:
    split = project.Split(
        inputs={"b": np.zeros((2, 3), dtype=np.int64), "a": np.zeros(2, dtype=np.float32)},
        targets=np.zeros(2),
    )
    described = [(spec.name, spec.dtype, spec.shape) for spec in reference.input_specs(split)]
    assert described == [("b", "int64", (3,)), ("a", "float32", ())]


def test_components_are_orthonormal_and_at_most_eight() -> None:
    cloud = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    basis = reference.principal_components(cloud)
    assert basis.components.shape == (8, 12)
    assert np.allclose(basis.components @ basis.components.T, np.eye(8), atol=1e-5)


def test_components_come_in_the_order_of_the_spread() -> None:
    cloud = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32) * [1.0, 9.0, 3.0]
    basis = reference.principal_components(cloud.astype(np.float32))
    # Spread 9 lies along axis 1, 3 along axis 2, 1 along axis 0.
    assert np.abs(basis.components).argmax(axis=1).tolist() == [1, 2, 0]


def test_the_largest_entry_of_a_component_is_positive() -> None:
    cloud = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    components = reference.principal_components(cloud).components
    largest = components[np.arange(5), np.abs(components).argmax(axis=1)]
    assert (largest > 0).all()


def test_directions_without_spread_are_left_out() -> None:
    line = np.outer(np.arange(10.0), [1.0, 2.0, 2.0]).astype(np.float32)
    basis = reference.principal_components(line)
    # (1, 2, 2) over its length 3.
    assert np.allclose(basis.components, [[1 / 3, 2 / 3, 2 / 3]], atol=1e-6)


def test_an_embedding_that_never_changes_has_no_components() -> None:
    flat = np.ones((10, 4), dtype=np.float32)
    assert reference.principal_components(flat).components.shape == (0, 4)


def test_a_mean_far_from_zero_is_taken_out_exactly_enough() -> None:
    cloud = np.array([[1000.0, 0.0], [1000.0, 1.0]], dtype=np.float32)
    basis = reference.principal_components(cloud)
    assert np.allclose(basis.components, [[0.0, 1.0]])


def logits(confidence: float, right: int, wrong: int) -> tuple[reference.Floats, project.Array]:
    """Two classes; class 0 always has the given probability; it is right so many times."""
    row = np.log([[confidence, 1 - confidence]]).astype(np.float32)
    return np.repeat(row, right + wrong, axis=0), np.array([0] * right + [1] * wrong)


@pytest.mark.parametrize(
    ("confidence", "right", "wrong", "temperature"),
    [
        # Log-odds claimed over log-odds earned.
        (0.9, 9, 1, 1.0),
        (0.9, 3, 1, 2.0),  # log 9 / log 3
        (0.75, 9, 1, 0.5),  # log 3 / log 9
    ],
)
def test_the_temperature_brings_confidence_down_to_what_is_earned(
    confidence: float, right: int, wrong: int, temperature: float
) -> None:
    found = reference.calibrate(*logits(confidence, right, wrong))
    assert found == pytest.approx(temperature, rel=1e-3)


def test_a_model_that_is_never_wrong_takes_the_lowest_temperature_without_overflow() -> None:
    certain = np.array([[1000.0, 0.0]] * 3, dtype=np.float32)
    assert 0.05 <= reference.calibrate(certain, np.zeros(3, dtype=np.int64)) <= 20.0


def test_a_model_that_is_always_wrong_takes_the_highest_temperature() -> None:
    wrong = np.array([[5.0, 0.0]] * 3, dtype=np.float32)
    found = reference.calibrate(wrong, np.ones(3, dtype=np.int64))
    assert found == pytest.approx(20.0, rel=0.01)


def sliced(**slices: list[str]) -> project.Split:
    rows = len(next(iter(slices.values())))
    named = {name: np.array(values) for name, values in slices.items()}
    return project.Split(inputs={}, targets=np.zeros(rows), slices=named)


def test_every_slice_marks_its_rows() -> None:
    masks = reference.slice_masks(sliced(pen=["ink", "lead", "ink"], site=["a", "a", ""]))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "slice.pen=ink": [1, 0, 1],
        "slice.pen=lead": [0, 1, 0],
        "slice.site=a": [1, 1, 0],
    }


def test_a_kind_of_slices_with_too_many_values_is_left_out() -> None:
    names = [str(number) for number in range(reference.MOST_SLICES + 1)]
    assert reference.slice_masks(sliced(user=names)) == {}
