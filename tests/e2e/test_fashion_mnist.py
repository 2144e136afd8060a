"""Example 05 as its README tells it: pictures from a package or a folder, a recipe, bytes."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from coppice import errors
from coppice.project import Data
from tests.support import examples, house
from tests.support.examples import Done, Example

NAME = "05_fashion_mnist"
VARIABLE = "COPPICE_FASHION_MNIST"

pytestmark = pytest.mark.slow


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an idx file of bytes: type 8, the dimensions, the values."""
    head = bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + values.tobytes(), compresslevel=1))


def drawn(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures of ten kinds that tiny training tells apart: a bright column per kind."""
    kinds = rng.integers(0, 10, rows).astype(np.uint8)
    pictures = rng.integers(0, 60, (rows, 28, 28)).astype(np.uint8)
    columns = 2 * kinds[:, None] + np.arange(4, 8)
    pictures[np.arange(rows)[:, None], :, columns] = 250
    return pictures, kinds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, with drawn pictures in place of clothes: small, and on every machine."""
    where, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    pictures, kinds = drawn(1_600, rng)
    write_idx(where / "train-images-idx3-ubyte.gz", pictures)
    write_idx(where / "train-labels-idx1-ubyte.gz", kinds)
    pictures, kinds = drawn(300, rng)
    write_idx(where / "t10k-images-idx3-ubyte.gz", pictures)
    write_idx(where / "t10k-labels-idx1-ubyte.gz", kinds)
    return where


@pytest.fixture(scope="module")
def example(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Example:
    variables = {
        VARIABLE: str(folder),
        "COPPICE_TRAIN__EPOCHS": "2",
        "COPPICE_INSPECT__SECTIONS": "[]",
        # Two epochs teach no clothes; what is shown here is the way, not the score.
        "COPPICE_GATES__MAX_SCORE_DROP": "0.5",
        "COPPICE_GATES__MAX_SLICE_DROP": "1.0",
    }
    return examples.copy(NAME, tmp_path_factory.mktemp("examples"), **variables)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Example:
    """A copy whose functions are called in this process, without the variable."""
    monkeypatch.delenv(VARIABLE, raising=False)
    return examples.copy(NAME, tmp_path)


@pytest.fixture(scope="module")
def pruned(example: Example) -> Done:
    return example.coppice("prune", "--recipe", "recipe.json")


def test_a_folder_without_the_files_says_both_ways(
    here: Example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(errors.ProjectError) as caught:
        examples.data(here)
    message = str(caught.value)
    assert "lacks train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-" in message
    assert "apt install dataset-fashion-mnist" in message
    assert f"set {VARIABLE} to a folder" in message


def test_the_one_file_that_is_missing_is_named(
    here: Example, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "files")
    (tmp_path / "files" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "files"))
    with pytest.raises(errors.ProjectError, match=r"lacks t10k-labels-idx1-ubyte\.gz: install"):
        examples.data(here)


@pytest.fixture
def clothes(here: Example) -> Data:
    debian = Path("/usr/share/datasets/fashion-mnist")
    if not debian.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    return examples.data(here)


def test_the_pictures_of_debians_package_are_read(clothes: Data) -> None:
    rows = (clothes.train.rows, clothes.validation.rows, clothes.holdout.rows)
    assert rows == (10_000, 1_000, 2_000)
    assert clothes.train.inputs["pixels"].shape[1:] == (1, 28, 28)
    # The first training picture is the ankle boot that every introduction shows.
    assert clothes.classes[clothes.train.targets[0]] == "boot"
    assert (clothes.train.inputs["pixels"].min(), clothes.train.inputs["pixels"].max()) == (0, 1)


def test_the_recipe_of_the_folder_is_carried_out(pruned: Done) -> None:
    assert pruned.returncode == 0, pruned.stderr
    assert "accepted: it is rolled out as soon as" in pruned.stdout


def test_pictures_as_bytes_are_answered_and_labelled(example: Example, asked: Done) -> None:
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.endswith(f"of {examples.ROWS} right\n")
    seen = example.wait_for(examples.labelled(examples.ROWS))
    assert set(seen["versions"][0]["slices"]) <= {"cover=slim", "cover=full"}


def test_the_readme_names_the_variable_and_the_package() -> None:
    text = (house.ROOT / "examples" / NAME / "README.md").read_text(encoding="utf-8")
    assert VARIABLE in text
    assert "apt install dataset-fashion-mnist" in text
