from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from coppice import artifact, errors
from tests.support import artifacts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifacts.linear_classifier(tmp_path / "tiny")
    return tmp_path / "tiny"


def manifest(**changes: Any) -> artifact.Manifest:
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": "binary",
        "classes": ("no", "yes"),
        "inputs": (
            artifact.TensorSpec("x", "float32", (4,)),
            artifact.TensorSpec("age", "int64", ()),
        ),
        "accepted": 0.9,
        "accepted_rows": 10,
        "created_at": 1.0,
    }
    return artifact.Manifest(**(fields | changes))


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class TestManifest:
    def test_it_holds_the_digest_of_every_other_file(self, folder: Path) -> None:
        files = artifact.read_manifest(folder).files

        assert sorted(files) == sorted(
            path.name for path in folder.iterdir() if path.name != artifact.MANIFEST
        )
        assert files[artifact.CARD] == artifact.digest(folder / artifact.CARD)

    def test_a_digest_is_sha256(self, tmp_path: Path) -> None:
        (tmp_path / "abc").write_bytes(b"abc")

        # FIPS 180-4, example of SHA-256("abc").
        assert artifact.digest(tmp_path / "abc") == (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )

    def test_the_tag_is_the_name_and_the_start_of_the_manifests_digest(self, folder: Path) -> None:
        digest = artifact.digest(folder / artifact.MANIFEST)

        assert artifact.tag(folder) == f"tiny:{digest[:12]}"

    def test_the_same_content_gets_the_same_tag(self, tmp_path: Path) -> None:
        tags = {artifacts.linear_classifier(tmp_path / name) for name in ("a", "b")}

        assert len(tags) == 1

    def test_sealing_again_changes_nothing(self, folder: Path) -> None:
        before = artifact.tag(folder)

        assert artifact.write_manifest(folder, artifact.read_manifest(folder)) == before

    def test_a_file_named_like_the_manifest_in_a_subfolder_is_sealed_too(
        self, folder: Path
    ) -> None:
        (folder / "more").mkdir()
        (folder / "more" / artifact.MANIFEST).write_text("{}")
        artifact.write_manifest(folder, artifact.read_manifest(folder))

        assert "more/manifest.json" in artifact.verify(folder).files

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"inputs": ()}, "needs inputs"),
            ({"inputs": (artifact.TensorSpec("x", "int8", ()),) * 2}, "names of their own"),
            ({"task": "regression"}, "does not go with the classes"),
            ({"task": "binary", "classes": ("a", "b", "c")}, "does not go with the classes"),
            ({"task": "multiclass", "classes": ("a",)}, "does not go with the classes"),
            ({"codes": {"z": artifact.Codes((0,), (1,))}}, "codes of 'z' fit no input"),
            ({"codes": {"x": artifact.Codes((0,), (1,))}}, "codes of 'x' fit no input"),
            ({"codes": {"age": artifact.Codes((0, 0), (1, 1))}}, "codes of 'age' fit no input"),
        ],
    )
    def test_one_that_no_version_could_have_is_refused(
        self, changes: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ValueError, match=problem):
            manifest(**changes)

    def test_two_classes_may_be_multiclass(self) -> None:
        assert manifest(task="multiclass").task == "multiclass"

    @pytest.mark.parametrize(
        ("dtype", "shape", "problem"),
        [("float99", (1,), "unknown dtype 'float99'"), ("int8", (2, -1), "has the shape")],
    )
    def test_an_input_that_no_array_can_be_is_refused(
        self, dtype: str, shape: tuple[int, ...], problem: str
    ) -> None:
        with pytest.raises(ValueError, match=problem):
            artifact.TensorSpec("x", dtype, shape)


class TestReading:
    def test_a_folder_without_a_manifest_is_no_artifact(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ArtifactError, match="is not an artifact"):
            artifact.read_manifest(tmp_path)

    def test_a_file_is_no_artifact(self, folder: Path) -> None:
        with pytest.raises(errors.ArtifactError, match="is not an artifact"):
            artifact.read_manifest(folder / artifact.CARD)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"name": 3}', b"\xff"])
    def test_a_manifest_that_does_not_parse_is_corrupt(self, folder: Path, content: bytes) -> None:
        (folder / artifact.MANIFEST).write_bytes(content)

        with pytest.raises(errors.ArtifactCorrupt, match="does not parse"):
            artifact.read_manifest(folder)

    def test_a_newer_schema_asks_for_an_upgrade(self, folder: Path) -> None:
        (folder / artifact.MANIFEST).write_text('{"schema": 2, "shape": "another"}')

        with pytest.raises(errors.ArtifactError, match="schema 2, this version reads 1; upgrade"):
            artifact.read_manifest(folder)

    def test_an_unknown_dtype_is_corrupt(self, folder: Path) -> None:
        rewrite(folder, inputs=[{"name": "x", "dtype": "float99", "shape": [4]}])

        with pytest.raises(errors.ArtifactCorrupt, match="float99"):
            artifact.read_manifest(folder)


def edit(folder: Path) -> None:
    path = folder / artifact.MODEL
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(folder: Path) -> None:
    path = folder / artifact.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])


def remove(folder: Path) -> None:
    (folder / artifact.CARD).unlink()


def add(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(b"")


def drop_required(folder: Path) -> None:
    """Seal a folder that never had a card."""
    (folder / artifact.CARD).unlink()
    artifact.write_manifest(folder, artifact.read_manifest(folder))


class TestVerifying:
    def test_a_whole_artifact_passes(self, folder: Path) -> None:
        assert artifact.verify(folder, artifact.tag(folder)) == artifact.read_manifest(folder)

    @pytest.mark.parametrize(
        ("damage", "problem"),
        [
            (edit, r"model\.onnx was altered"),
            (cut, r"weights\.safetensors was altered"),
            (remove, r"card\.json is missing"),
            (add, r"extra\.pkl is not in the manifest"),
            (drop_required, r"card\.json is missing"),
        ],
    )
    def test_damage_names_the_file_and_what_to_do(
        self, folder: Path, damage: Callable[[Path], None], problem: str
    ) -> None:
        damage(folder)

        with pytest.raises(errors.ArtifactCorrupt, match=f"{problem}.*; restore the artifact"):
            artifact.verify(folder)

    def test_an_edited_manifest_does_not_keep_its_tag(self, folder: Path) -> None:
        tag = artifact.tag(folder)
        rewrite(folder, accepted=0.99)

        with pytest.raises(errors.ArtifactCorrupt, match="its manifest was edited"):
            artifact.verify(folder, tag)

    def test_another_version_is_not_mistaken_for_the_one_named(
        self, folder: Path, tmp_path: Path
    ) -> None:
        other = artifacts.linear_classifier(tmp_path / "other", accepted=0.5)

        with pytest.raises(errors.ArtifactCorrupt, match=f"not {other}"):
            artifact.verify(folder, other)

    def test_the_model_stores_own_file_is_passed_over(self, folder: Path) -> None:
        (folder / "model.yaml").write_text("name: tiny")

        artifact.verify(folder)


class TestTensors:
    def test_they_are_read_by_name(self, folder: Path) -> None:
        tensors = artifact.load_tensors(folder, artifact.REFERENCE)

        assert sorted(tensors) == ["features", "scores", "targets"]
        assert tensors["features"].shape == (artifacts.REFERENCE_ROWS, 6)

    def test_a_file_that_is_not_there_holds_none(self, folder: Path) -> None:
        assert artifact.load_tensors(folder, "nothing.safetensors") == {}

    @pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}extra"])
    def test_a_file_that_does_not_parse_is_corrupt(self, folder: Path, content: bytes) -> None:
        (folder / artifact.REFERENCE).write_bytes(content)

        with pytest.raises(errors.ArtifactCorrupt, match=r"reference\.safetensors does not parse"):
            artifact.load_tensors(folder, artifact.REFERENCE)


def inputs(rows: int = 2) -> dict[str, npt.NDArray[np.generic]]:
    return {"x": np.zeros((rows, 4), dtype=np.float32), "age": np.zeros(rows, dtype=np.int64)}


class TestInputs:
    def test_what_fits_gives_the_number_of_rows(self) -> None:
        assert artifact.check_inputs(manifest(), inputs(3)) == 3

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"y": np.zeros(2)}, r"inputs are \['age', 'x', 'y'\], but .* \['age', 'x'\]"),
            ({"x": np.zeros((2, 4))}, "'x' has dtype float64, expected float32"),
            ({"age": np.zeros(2, dtype=np.int32)}, "'age' has dtype int32, expected int64"),
            ({"x": np.zeros((2, 5), np.float32)}, r"shape \[2, 5\], expected \['rows', 4\]"),
            ({"x": np.zeros((2, 4, 1), np.float32)}, r"shape \[2, 4, 1\]"),
            ({"x": np.zeros((3, 4), np.float32)}, "same number of rows"),
            ({"x": np.float32(1.0)}, "same number of rows"),
            ({"age": np.zeros((2, 1), dtype=np.int64)}, r"expected \['rows'\]"),
            ({"x": np.full((2, 4), np.nan, np.float32)}, "NaN or infinite"),
            ({"x": np.full((2, 4), -np.inf, np.float32)}, "NaN or infinite"),
        ],
    )
    def test_what_does_not_fit_is_refused_with_what_was_expected(
        self, changes: dict[str, npt.NDArray[np.generic]], problem: str
    ) -> None:
        with pytest.raises(errors.RequestError, match=problem):
            artifact.check_inputs(manifest(), inputs() | changes)

    def test_a_missing_input_is_named(self) -> None:
        with pytest.raises(errors.RequestError, match=r"inputs are \['x'\]"):
            artifact.check_inputs(manifest(), {"x": inputs()["x"]})

    def test_no_rows_are_refused(self) -> None:
        with pytest.raises(errors.RequestError, match="at least 1"):
            artifact.check_inputs(manifest(), inputs(0))

    def test_the_largest_finite_numbers_pass(self) -> None:
        large = {"x": np.full((2, 4), np.finfo(np.float32).max, np.float32)}

        assert artifact.check_inputs(manifest(), inputs() | large) == 2


CODED = artifact.Manifest(
    name="shop",
    task="binary",
    classes=("no", "yes"),
    inputs=(
        artifact.TensorSpec("item", "int64", ()),
        artifact.TensorSpec("fields", "uint8", (2, 2)),
    ),
    # Of the fields only the last may not be any byte.
    codes={
        "item": artifact.Codes((-1,), (99,)),
        "fields": artifact.Codes((-5, 0, 0, 0), (255, 255, 300, 6)),
    },
    accepted=0.9,
    accepted_rows=10,
    created_at=1.0,
)


def coded(**changes: Any) -> dict[str, npt.NDArray[np.generic]]:
    """Two rows at the ends of what is known, with some elements changed."""
    plain = {"item": [-1, 99], "fields": [[[255, 0], [255, 6]], [[0, 255], [0, 0]]]}
    dtypes = {"item": np.int64, "fields": np.uint8}
    return {name: np.array(values, dtypes[name]) for name, values in (plain | changes).items()}


class TestCodes:
    def test_the_first_and_the_last_that_are_known_pass(self) -> None:
        assert artifact.check_inputs(CODED, coded()) == 2
        assert list(artifact.unknown_codes(CODED, coded())) == []

    @pytest.mark.parametrize("code", [-2, 100, -(2**63), 2**63 - 1])
    def test_any_other_is_refused_with_input_row_and_what_is_known(self, code: int) -> None:
        told = rf"row 1 .*: input 'item' holds the code {code}, .* only -1 to 99"
        with pytest.raises(errors.RequestError, match=told) as caught:
            artifact.check_inputs(CODED, coded(item=[0, code]))
        assert caught.value.http_status == 400

    def test_of_several_elements_the_place_is_named(self) -> None:
        wrong = coded(fields=[[[0, 0], [0, 7]], [[0, 0], [0, 0]]])
        told = r"row 0 .*: input 'fields' holds the code 7 at \[1, 1\], .* only 0 to 6 there"
        with pytest.raises(errors.RequestError, match=told):
            artifact.check_inputs(CODED, wrong)

    def test_every_row_that_is_wrong_is_told(self) -> None:
        wrong = coded(item=[100, 0], fields=[[[0, 0], [0, 9]], [[0, 0], [0, 8]]])
        assert [row for row, _ in artifact.unknown_codes(CODED, wrong)] == [0, 0, 1]

    def test_no_rows_hold_no_code(self) -> None:
        none = {name: array[:0] for name, array in coded().items()}
        assert list(artifact.unknown_codes(CODED, none)) == []

    def test_they_are_written_and_read(self, folder: Path) -> None:
        artifact.write_manifest(folder, CODED)
        assert artifact.read_manifest(folder).codes == CODED.codes

    def test_a_manifest_from_before_them_is_read_and_refuses_no_code(self, folder: Path) -> None:
        artifact.write_manifest(folder, manifest())
        path = folder / artifact.MANIFEST
        told = json.loads(path.read_text())
        del told["codes"]
        path.write_text(json.dumps(told))
        old = artifact.read_manifest(folder)
        assert old.codes == {}
        assert artifact.check_inputs(old, inputs() | {"age": np.array([-7, 10**9])}) == 2

    @pytest.mark.parametrize(("low", "high"), [((), ()), ((0,), (1, 2)), ((2,), (1,))])
    def test_bounds_between_which_nothing_lies_are_refused(
        self, low: tuple[int, ...], high: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match="hold none"):
            artifact.Codes(low, high)


def test_no_file_of_an_artifact_is_a_pickle(folder: Path) -> None:
    heads = {path.name: path.read_bytes()[:2] for path in folder.iterdir()}

    # A pickle of protocol 2 and later begins with the byte 0x80 and its number.
    assert not [name for name, head in heads.items() if head[:1] == b"\x80"]
    assert {Path(name).suffix for name in heads} == {".json", ".onnx", ".safetensors"}
