from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from coppice import artifact, errors, features, runtime
from tests.support import artifacts, needs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tiny"


def reseal(folder: Path, **changes: object) -> None:
    """Write a manifest that says something else about the same files."""
    manifest = msgspec.structs.replace(artifact.read_manifest(folder), **changes)
    artifact.write_manifest(folder, manifest)


class TestLoading:
    def test_a_loaded_version_knows_its_tag_and_manifest(self, folder: Path) -> None:
        tag = artifacts.linear_classifier(folder)

        loaded = runtime.Runtime(folder, expected_tag=tag)

        assert (loaded.tag, loaded.manifest.name) == (tag, "tiny")

    def test_an_altered_file_is_not_loaded(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        (folder / artifact.MODEL).write_bytes(b"")

        with pytest.raises(errors.ArtifactCorrupt, match=r"model\.onnx was altered"):
            runtime.Runtime(folder)

    def test_another_tag_than_expected_is_not_loaded(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)

        with pytest.raises(errors.ArtifactCorrupt, match="not tiny:000000000000"):
            runtime.Runtime(folder, expected_tag="tiny:000000000000")

    def test_a_graph_that_is_none_is_refused(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        (folder / artifact.MODEL).write_bytes(b"no graph")
        reseal(folder)

        with pytest.raises(errors.ArtifactError, match=r"cannot be loaded.*pack the artifact"):
            runtime.Runtime(folder)

    def test_a_graph_with_other_inputs_than_the_manifest_is_refused(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        reseal(folder, inputs=(artifact.TensorSpec("y", "float32", (4,)),))

        with pytest.raises(errors.ArtifactError, match=r"the graph takes \('x',\), not \['y'\]"):
            runtime.Runtime(folder)

    def test_features_of_another_recipe_are_refused(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        reseal(folder, features=("score.no", "mood"))

        with pytest.raises(errors.ArtifactError, match=r"packed with the features.*'mood'"):
            runtime.Runtime(folder)

    def test_the_calibrators_temperature_is_read(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        warm = {"calibration.temperature": np.array([2.5], dtype=np.float32)}
        safetensors.numpy.save_file(warm, folder / artifact.MONITORING)
        reseal(folder)

        assert runtime.Runtime(folder).temperature == 2.5

    def test_a_version_without_a_calibrator_is_left_as_it_is(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        (folder / artifact.MONITORING).unlink()
        reseal(folder)

        assert runtime.Runtime(folder).temperature == 1.0

    def test_the_names_are_reached_through_the_runtime(self) -> None:
        assert runtime.feature_names is features.feature_names
        assert runtime.monitoring_features is features.monitoring_features


class TestPredicting:
    def test_a_classifier_answers_probabilities(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)

        answers = runtime.Runtime(folder).predict({"x": np.ones((1, 4), dtype=np.float32)})

        # The logits are -0.5 and 0.5 times the inputs' sum 4, so "yes" has 1 / (1 + exp(-4)).
        np.testing.assert_allclose(answers.scores, [[0.0179862, 0.9820138]], rtol=1e-5)
        assert answers.scores.dtype == np.float32

    def test_a_regressor_answers_one_value_for_each_row(self, folder: Path) -> None:
        artifacts.linear_regressor(folder, bias=np.array([0.5]))

        answers = runtime.Runtime(folder).predict({"x": np.ones((3, 4), dtype=np.float32)})

        # The inputs' sum is 4, and the bias 0.5.
        assert answers.scores.tolist() == [4.5, 4.5, 4.5]

    def test_features_come_with_the_answer(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        loaded = runtime.Runtime(folder)
        inputs = {"x": artifacts.rows(5)}

        answers = loaded.predict(inputs)

        expected = runtime.monitoring_features(loaded.manifest.inputs, inputs, answers.scores)
        np.testing.assert_array_equal(answers.features, expected)
        assert answers.features.shape == (5, len(loaded.manifest.features))

    def test_an_embedding_is_watched_through_the_artifacts_basis(self, folder: Path) -> None:
        artifacts.linear_classifier(folder, components=np.eye(2, 4))
        loaded = runtime.Runtime(folder)
        inputs = artifacts.rows(3)

        answers = loaded.predict({"x": inputs})

        # The embedding is the input, and the components its first two columns.
        assert loaded.manifest.features[2:4] == ("embedding.pca0", "embedding.pca1")
        np.testing.assert_array_equal(answers.features[:, 2:4], inputs[:, :2])

    def test_live_features_are_those_of_the_reference(self, folder: Path) -> None:
        artifacts.linear_classifier(folder, components=np.eye(2, 4))
        reference = artifact.load_tensors(folder, artifact.REFERENCE)

        answers = runtime.Runtime(folder).predict({"x": artifacts.rows(500, seed=1)})

        # float32 products may differ in their last bits.
        expected = reference["features"].astype(np.float32)
        assert np.abs(answers.features - expected).max() < 1e-5

    def test_a_version_without_features_has_none(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        reseal(folder, features=())

        assert runtime.Runtime(folder).predict({"x": artifacts.rows(3)}).features.shape == (3, 0)

    def test_a_graph_that_fails_is_an_artifact_error(self, folder: Path) -> None:
        artifacts.failing_classifier(folder)
        loaded = runtime.Runtime(folder)
        loaded.warm_up()

        with pytest.raises(errors.ArtifactError, match=r"model\.onnx failed"):
            loaded.predict({"x": np.ones((1, 4), dtype=np.float32)})

    def test_a_version_that_failed_still_answers_the_next(self, folder: Path) -> None:
        artifacts.failing_classifier(folder)
        loaded = runtime.Runtime(folder)
        with pytest.raises(errors.ArtifactError):
            loaded.predict({"x": np.ones((1, 4), dtype=np.float32)})

        assert loaded.predict({"x": np.zeros((1, 4), dtype=np.float32)}).scores.shape == (1, 2)

    def test_nan_is_no_answer(self, folder: Path) -> None:
        artifacts.nan_classifier(folder)
        loaded = runtime.Runtime(folder)
        loaded.warm_up()

        with pytest.raises(errors.ArtifactError, match="answers NaN or infinite"):
            loaded.predict({"x": np.full((1, 4), -1.0, dtype=np.float32)})

    def test_another_number_of_classes_than_the_manifests_is_no_answer(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        reseal(folder, task="multiclass", classes=("a", "b", "c"), features=())

        with pytest.raises(errors.ArtifactError, match=r"answers in shape \(1, 2\), expected"):
            runtime.Runtime(folder).warm_up()

    def test_threads_may_ask_at_once(self, folder: Path) -> None:
        artifacts.linear_classifier(folder)
        loaded = runtime.Runtime(folder)
        batches = [artifacts.rows(16, seed=seed) for seed in range(4)]
        expected = [loaded.predict({"x": batch}).scores for batch in batches]
        got: dict[int, list[bool]] = {}

        def ask(number: int) -> None:
            got[number] = [
                np.array_equal(loaded.predict({"x": batches[number]}).scores, expected[number])
                for _ in range(50)
            ]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert got == {number: [True] * 50 for number in range(4)}


class TestSession:
    def test_outputs_come_by_name(self, folder: Path) -> None:
        artifacts.linear_classifier(folder, components=np.eye(2, 4))
        session = runtime.Session(folder / artifact.MODEL)

        outputs = session.run({"x": artifacts.rows(2)})

        assert session.inputs == ("x",)
        assert session.outputs == ("scores", "embedding")
        assert {name: array.shape for name, array in outputs.items()} == {
            "scores": (2, 2),
            "embedding": (2, 4),
        }

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ArtifactError, match=r"nowhere\.onnx cannot be loaded"):
            runtime.Session(tmp_path / "nowhere.onnx")

    @pytest.mark.parametrize(
        "inputs",
        [
            {},
            {"y": np.zeros((1, 4), np.float32)},
            {"x": np.zeros((1, 5), np.float32)},
            {"x": np.zeros((1, 4), np.float64)},
        ],
        ids=["none", "name", "shape", "dtype"],
    )
    def test_inputs_that_do_not_fit_are_an_artifact_error(
        self, folder: Path, inputs: dict[str, runtime.Array]
    ) -> None:
        artifacts.linear_classifier(folder)

        with pytest.raises(errors.ArtifactError, match="failed"):
            runtime.Session(folder / artifact.MODEL).run(inputs)

    def test_a_failure_writes_nothing_to_the_terminal(
        self, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        artifacts.failing_classifier(folder)
        session = runtime.Session(folder / artifact.MODEL)

        with pytest.raises(errors.ArtifactError):
            session.run({"x": np.ones((1, 4), dtype=np.float32)})

        assert capfd.readouterr() == ("", "")

    def test_more_threads_give_the_same_answer(self, folder: Path) -> None:
        artifacts.slow_classifier(folder, steps=1)
        inputs = {"x": artifacts.rows(2)}

        one = runtime.Session(folder / artifact.MODEL).run(inputs)["scores"]
        two = runtime.Session(folder / artifact.MODEL, threads=2).run(inputs)["scores"]

        assert np.abs(one.astype(np.float32) - two.astype(np.float32)).max() < 1e-6


class TestEngine:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        artifacts.linear_classifier(tmp_path)
        return tmp_path

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_a_version_is_served_by_the_engine_that_its_manifest_names(
        self, folder: Path, precision: artifact.Precision
    ) -> None:
        needs.openvino()
        rows = {"x": artifacts.rows(9)}
        plain = runtime.Runtime(folder).predict(rows)
        tag = artifacts.served_by(folder, "openvino", precision)
        served = runtime.Runtime(folder, expected_tag=tag)
        assert runtime.packed(folder) == (folder / "model.onnx", "openvino", precision)
        assert type(served._session).__module__ == "coppice.openvino"
        # What bf16 may be off by is derived in test_openvino.
        assert np.abs(served.predict(rows).scores - plain.scores).max() <= 0.01
        assert served.predict(rows).features.shape == plain.features.shape

    def test_a_version_whose_engine_is_not_installed_is_an_artifact_that_cannot_be_used(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifacts.served_by(folder, "openvino")
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(errors.EngineMissing, match=r"pip install 'coppice\[openvino\]'"):
            runtime.Runtime(folder)

    @pytest.mark.parametrize(
        ("old", "new", "text"),
        [
            (b'"onnxruntime"', b'"tensorrt"', r"Invalid enum value 'tensorrt'.*engine"),
            (b'"fp32"', b'"fp4"', r"Invalid enum value 'fp4'.*precision"),
            (b'"fp32"', b'"bf16"', "bf16 needs openvino"),
        ],
    )
    def test_a_manifest_that_names_no_engine_of_ours_is_corrupt(
        self, folder: Path, old: bytes, new: bytes, text: str
    ) -> None:
        manifest = folder / artifact.MANIFEST
        assert old in manifest.read_bytes()
        manifest.write_bytes(manifest.read_bytes().replace(old, new))
        with pytest.raises(errors.ArtifactCorrupt, match=text):
            runtime.Runtime(folder)

    def test_a_manifest_from_before_there_were_engines_is_served_by_the_first(
        self, folder: Path
    ) -> None:
        manifest = folder / artifact.MANIFEST
        tree = json.loads(manifest.read_bytes())
        del tree["engine"]
        manifest.write_text(json.dumps(tree))
        assert runtime.packed(folder).engine == "onnxruntime"
