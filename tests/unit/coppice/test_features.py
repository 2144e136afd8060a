from __future__ import annotations

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from coppice import artifact, errors, features

Spec = artifact.TensorSpec

IMAGE = Spec("image", "float32", (2, 2))
ROW = Spec("row", "float32", (3,))
AGE = Spec("age", "int64", ())


def scores(rows: int, classes: int) -> npt.NDArray[np.float32]:
    return np.full((rows, classes), 1 / classes, dtype=np.float32)


def classes(count: int) -> tuple[str, ...]:
    return tuple(f"c{index}" for index in range(count))


class TestNames:
    def test_a_regression_is_watched_by_its_answer(self) -> None:
        assert features.feature_names((AGE,), (), 0) == ("score", "input.age")

    def test_sixteen_classes_are_all_watched(self) -> None:
        names = features.feature_names((AGE,), classes(16), 0)

        assert names == (*(f"score.c{index}" for index in range(16)), "input.age")

    def test_more_classes_give_their_last_column_to_the_confidence(self) -> None:
        names = features.feature_names((AGE,), classes(17), 0)

        assert names == (*(f"score.c{index}" for index in range(15)), "confidence", "input.age")

    def test_at_most_eight_components_are_watched(self) -> None:
        names = features.feature_names((AGE,), (), 99)

        assert names == ("score", *(f"embedding.pca{index}" for index in range(8)), "input.age")

    def test_a_short_row_is_watched_column_by_column(self) -> None:
        assert features.feature_names((ROW,), (), 0)[1:] == (
            "input.row[0]",
            "input.row[1]",
            "input.row[2]",
        )

    def test_an_image_is_watched_by_its_statistics(self) -> None:
        assert features.feature_names((IMAGE,), (), 0)[1:] == (
            "input.image.mean",
            "input.image.std",
            "input.image.min",
            "input.image.max",
            "input.image.zero_share",
        )

    @pytest.mark.parametrize(("width", "columns"), [(1, 1), (12, 12), (13, 5), (1000, 5)])
    def test_a_row_is_short_up_to_twelve_numbers(self, width: int, columns: int) -> None:
        assert len(features.feature_names((Spec("x", "float64", (width,)),), (), 0)) == 1 + columns

    @pytest.mark.parametrize("spec", [Spec("t", "object", ()), Spec("t", "float32", (0, 3))])
    def test_text_and_empty_inputs_are_not_watched(self, spec: artifact.TensorSpec) -> None:
        assert features.feature_names((spec,), (), 0) == ("score",)

    def test_the_33rd_column_is_left_out(self) -> None:
        many = tuple(Spec(f"x{index}", "float32", (12,)) for index in range(5))

        names = features.feature_names(many, classes(10), 8)

        # 10 scores + 8 components + 12 columns of x0 + 2 of x1 = 32.
        assert len(names) == 32
        assert names[-3:] == ("input.x0[11]", "input.x1[0]", "input.x1[1]")

    def test_names_do_not_repeat(self) -> None:
        names = features.feature_names((IMAGE, ROW, AGE), classes(10), 8)

        assert len(set(names)) == len(names)


class TestColumns:
    def test_statistics_are_those_of_each_row(self) -> None:
        image = np.array([[[0, 1], [0, 3]], [[2, 2], [2, 2]]], dtype=np.float32)

        columns = features.monitoring_features((IMAGE,), {"image": image}, scores(2, 2))

        # Row 1: mean (0 + 1 + 0 + 3) / 4 = 1; variance (1 + 0 + 1 + 4) / 4 = 1.5; half are zero.
        np.testing.assert_allclose(
            columns,
            [[0.5, 0.5, 1.0, np.sqrt(1.5), 0.0, 3.0, 0.5], [0.5, 0.5, 2.0, 0.0, 2.0, 2.0, 0.0]],
            rtol=1e-6,
        )

    def test_short_rows_and_single_numbers_are_taken_as_they_are(self) -> None:
        columns = features.monitoring_features(
            (ROW, AGE),
            {"row": np.array([[1, 2, 3]], dtype=np.float32), "age": np.array([42])},
            np.array([0.5], dtype=np.float32),
        )

        assert columns.tolist() == [[0.5, 1.0, 2.0, 3.0, 42.0]]

    def test_the_confidence_is_the_largest_score_of_all(self) -> None:
        answers = scores(1, 20)
        answers[0, 19] = 0.9

        columns = features.monitoring_features((AGE,), {"age": np.array([1])}, answers)

        assert columns.shape == (1, 17)
        assert columns[0, 15] == np.float32(0.9)

    def test_an_embedding_is_centred_and_projected(self) -> None:
        basis = features.Basis(
            mean=np.array([1, 1], dtype=np.float32),
            components=np.array([[1, 0], [0.6, 0.8]], dtype=np.float32),
        )

        columns = features.monitoring_features(
            (AGE,),
            {"age": np.array([0])},
            scores(1, 2),
            embedding=np.array([[2.0, 3.0]], dtype=np.float32),
            basis=basis,
        )

        # (2, 3) - (1, 1) = (1, 2); on (1, 0) that is 1, on (0.6, 0.8) it is 0.6 + 1.6 = 2.2.
        np.testing.assert_allclose(columns, [[0.5, 0.5, 1.0, 2.2, 0.0]], rtol=1e-6)

    def test_an_embedding_without_a_basis_is_not_watched(self) -> None:
        columns = features.monitoring_features(
            (AGE,), {"age": np.array([0])}, scores(1, 2), embedding=np.ones((1, 4))
        )

        assert columns.shape == (1, 3)

    def test_booleans_count_as_0_and_1(self) -> None:
        flags = Spec("flags", "bool", (2,))

        columns = features.monitoring_features(
            (flags,), {"flags": np.array([[True, False]])}, np.zeros(1, np.float32)
        )

        assert columns.tolist() == [[0.0, 1.0, 0.0]]

    def test_of_a_large_input_evenly_spaced_values_are_looked_at(self) -> None:
        # 3 x 4,096 values, every third of them 1: only those are looked at.
        large = np.zeros((1, 3 * 4096), dtype=np.float32)
        large[:, ::3] = 1.0

        columns = features.monitoring_features(
            (Spec("x", "float32", (3 * 4096,)),), {"x": large}, np.zeros(1, np.float32)
        )

        assert columns.tolist() == [[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]]

    def test_a_batch_gives_the_columns_of_its_rows(self) -> None:
        rng = np.random.default_rng(0)
        image = rng.random((5, 2, 2), dtype=np.float32)
        answers = rng.random((5, 3), dtype=np.float32)

        whole = features.monitoring_features((IMAGE,), {"image": image}, answers)
        single = [
            features.monitoring_features(
                (IMAGE,), {"image": image[row : row + 1]}, answers[row : row + 1]
            )
            for row in range(5)
        ]

        np.testing.assert_array_equal(whole, np.concatenate(single))

    @hypothesis.given(
        arrays.arrays(np.float64, (2, 3, 3), elements=strategies.floats(allow_nan=False))
    )
    def test_features_are_finite_float32_whatever_the_input(
        self, image: npt.NDArray[np.float64]
    ) -> None:
        spec = Spec("image", "float64", (3, 3))

        columns = features.monitoring_features((spec,), {"image": image}, scores(2, 2))

        assert columns.dtype == np.float32
        assert np.isfinite(columns).all()

    @pytest.mark.parametrize("count", [2, 16, 17, 40])
    @pytest.mark.parametrize("components", [0, 3, 8])
    @pytest.mark.parametrize(
        "specs",
        [
            (IMAGE,),
            (ROW, AGE),
            (Spec("t", "object", ()), IMAGE, ROW),
            tuple(Spec(f"x{index}", "float32", (12,)) for index in range(4)),
        ],
        ids=["image", "tabular", "mixed", "wide"],
    )
    def test_there_is_a_column_for_each_name(
        self, specs: tuple[artifact.TensorSpec, ...], components: int, count: int
    ) -> None:
        inputs = {spec.name: np.ones((2, *spec.shape), dtype=spec.dtype) for spec in specs}
        basis = features.Basis(np.zeros(9, np.float32), np.eye(components, 9, dtype=np.float32))

        columns = features.monitoring_features(
            specs,
            inputs,
            scores(2, count),
            embedding=np.zeros((2, 9), np.float32),
            basis=basis,
        )

        names = features.feature_names(specs, classes(count), components)
        assert columns.shape == (2, len(names))


class TestBasis:
    def test_it_is_read_from_the_monitoring_tensors(self) -> None:
        basis = features.read_basis(
            {"pca.mean": np.zeros(4), "pca.components": np.eye(3, 4, dtype=np.float64)}
        )

        assert basis is not None
        assert basis.components.dtype == np.float32
        assert basis.components.shape == (3, 4)

    def test_components_beyond_the_eighth_are_left_out(self) -> None:
        basis = features.read_basis({"pca.mean": np.zeros(20), "pca.components": np.eye(20)})

        assert basis is not None
        assert basis.components.shape == (8, 20)

    def test_a_version_without_an_embedding_has_none(self) -> None:
        assert features.read_basis({"calibration.temperature": np.ones(1)}) is None

    @pytest.mark.parametrize(
        "tensors",
        [
            {"pca.components": np.eye(3)},
            {"pca.components": np.eye(3), "pca.mean": np.zeros(4)},
            {"pca.components": np.zeros(3), "pca.mean": np.zeros(3)},
        ],
    )
    def test_parts_that_do_not_fit_are_refused(
        self, tensors: dict[str, npt.NDArray[np.float64]]
    ) -> None:
        with pytest.raises(errors.ArtifactError, match="does not fit"):
            features.read_basis(tensors)
