from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from coppice import errors
from retrain import program, train
from tests.support import architectures, networks, packable


class Saved:
    """The trained digits' network as a program."""

    def __init__(self, folder: Path) -> None:
        self.model = packable.trained("digits")
        self.rows = packable.data().holdout.inputs
        self.path = folder / "digits.pt2"
        program.save(self.model, packable.data().validation, self.path, task="multiclass")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(tmp_path_factory.mktemp("program"))


def test_it_answers_like_the_model_for_any_number_of_rows(saved: Saved) -> None:
    run = program.load(saved.path)
    expected = train.predict(saved.model, saved.rows, task="multiclass")
    for rows in (1, 2, 7, 300):
        found = run({"pixels": saved.rows["pixels"][:rows]})
        assert list(found) == ["scores", "embedding"]
        assert np.abs(found["scores"] - expected[:rows]).max() < 1e-5


def test_inputs_go_by_name_in_any_order(tmp_path: Path) -> None:
    model = networks.TwoInputs().eval()
    split = networks.pairs()
    program.save(model, split, tmp_path / "two.pt2", task="binary")
    backwards = dict(reversed(split.inputs.items()))
    found = program.load(tmp_path / "two.pt2")(backwards)["scores"]
    assert np.abs(found - train.predict(model, split.inputs, task="binary")).max() < 1e-5


def test_a_recurrent_network_is_saved_too(tmp_path: Path) -> None:
    found = architectures.ARCHITECTURES["gru"]
    model, rows = found.model(), found.data().holdout
    program.save(model, rows, tmp_path / "gru.pt2", task=found.task)
    expected = train.predict(model, rows.inputs, task=found.task)
    run = program.load(tmp_path / "gru.pt2")
    assert np.abs(run(rows.inputs)["scores"] - expected).max() < 1e-4


def test_nothing_in_the_file_is_a_pickle(saved: Saved) -> None:
    with zipfile.ZipFile(saved.path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    # A pickle begins with its protocol; what torch.save writes is an archive, which begins with PK.
    starts = {name: content[:2] for name, content in contents.items()}
    assert not {b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK"} & set(starts.values())
    samples = [content for name, content in contents.items() if "sample_inputs" in name]
    assert samples == [b""]


def with_member(saved: Saved, path: Path, ending: str, content: bytes) -> Path:
    """Copy the program with another content of its one member of that ending."""
    with zipfile.ZipFile(saved.path) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(ending) else old.read(name))
    return path


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("sample_inputs/model.pt", b"\x80\x04."),
        ("model_weights_config.json", b'{"config": {"w": {"use_pickle": true}}}'),
        ("model_constants_config.json", b'{"config": {"c": {"path_name": "c"}}}'),
    ],
)
def test_a_program_with_a_pickle_in_it_is_never_loaded(
    saved: Saved, tmp_path: Path, ending: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.export, "load")
    path = with_member(saved, tmp_path / "evil.pt2", ending, content)
    with pytest.raises(errors.ArtifactError, match="holds a pickle"):
        program.load(path)


@pytest.mark.parametrize("name", ["nowhere.pt2", "text.pt2"])
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.pt2").write_bytes(b"no program")
    with pytest.raises(errors.ArtifactError, match="is no torch program"):
        program.load(tmp_path / name)


def test_an_archive_without_a_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(errors.ArtifactError, match="cannot be loaded"):
        program.load(tmp_path / "empty.pt2")


def test_a_forward_that_looks_at_values_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match="cannot be exported by torch") as caught:
        program.save(networks.Branches(), networks.vectors(), tmp_path / "no.pt2", task="binary")
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "no.pt2").exists()
