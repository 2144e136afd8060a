from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coppice import artifact, errors, project, runtime
from retrain import edge, quantize
from tests.support import digits, needs, packable

ROWS = digits.ROWS["validation"] + digits.ROWS["holdout"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> packable.Versions:
    return packable.versions(tmp_path_factory.mktemp("house"), pack={"max_drop": 0.02})


def wish(folder: Path, form: edge.Format, precision: artifact.Precision | None) -> edge.Wish:
    return edge.Wish(format=form, precision=precision, folder=folder)


def exported(
    found: packable.Versions,
    folder: Path,
    form: edge.Format,
    precision: artifact.Precision | None = None,
) -> edge.Exported:
    return edge.export(found.own, found.registry, found.pruned, wish(folder, form, precision))


def answers_by_its_readme(made: edge.Exported) -> float:
    """Run the lines of the README in a fresh process, and return the sum of what they answer."""
    text = Path(made.readme).read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(program.strip().splitlines()) == 3
    done = subprocess.run(
        [sys.executable, "-c", program + "print(float(answers['scores'][0].sum()))"],
        cwd=Path(made.path).parent,
        # The program is a user's: OpenVINO's telemetry, which it would load, heeds this variable.
        env={name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
        | {"CI": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


FILES = [
    ("onnx", "fp32", {"digits-fp32.onnx", "digits-fp32.onnx.README.md"}),
    ("onnx", "int8", {"digits-int8.onnx", "digits-int8.onnx.README.md"}),
    ("pt2", "fp32", {"digits-fp32.pt2", "digits-fp32.pt2.README.md"}),
    ("openvino", "fp32", {"digits-fp32.xml", "digits-fp32.bin", "digits-fp32.xml.README.md"}),
    ("openvino", "bf16", {"digits-bf16.xml", "digits-bf16.bin", "digits-bf16.xml.README.md"}),
    ("openvino", "int8", {"digits-int8.xml", "digits-int8.bin", "digits-int8.xml.README.md"}),
]


@pytest.mark.parametrize(("form", "precision", "names"), FILES)
def test_every_format_and_precision_answers_like_the_version_in_a_fresh_process(
    versions: packable.Versions,
    tmp_path: Path,
    form: edge.Format,
    precision: artifact.Precision,
    names: set[str],
) -> None:
    needs.openvino()
    made = exported(versions, tmp_path, form, precision)
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (made.version, made.precision, made.rows) == (versions.pruned, precision, ROWS)
    assert made.gap <= {"fp32": 1e-4, "bf16": 0.1, "int8": 0.2}[precision]
    assert made.bytes == sum(
        path.stat().st_size for path in tmp_path.iterdir() if path.suffix != ".md"
    )
    # Probabilities of one row of zeros, by the three lines of the README.
    assert answers_by_its_readme(made) == pytest.approx(1.0, abs=0.01)


def test_sizes_and_times_are_told_against_the_registered_graph_and_the_dense_parent(
    versions: packable.Versions, tmp_path: Path
) -> None:
    made = exported(versions, tmp_path, "onnx")
    # The very graph that is registered; the dense parent has twice the channels.
    assert (made.registered.version, made.registered.size_ratio) == (versions.pruned, 1.0)
    assert made.parent is not None
    assert made.parent.version == versions.parent
    assert made.parent.size_ratio < 1.0
    assert made.parent.latency.low <= made.parent.latency.gain <= made.parent.latency.high
    assert (made.gap, made.quality.disagreement) == (0.0, 0.0)


def test_a_dense_parent_is_told_against_itself_alone(
    versions: packable.Versions, tmp_path: Path
) -> None:
    made = edge.export(
        versions.own, versions.registry, versions.parent, wish(tmp_path, "onnx", None)
    )
    assert made.parent is None


def sealed_in_int8(found: packable.Versions, folder: Path) -> packable.Versions:
    """Register the pruned version again, its graph quantized."""
    registered = found.registry.path(found.pruned)
    made = folder / "int8"
    made.mkdir()
    for path in registered.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    (made / artifact.MODEL).unlink()
    quantize.quantize(registered / artifact.MODEL, made / artifact.MODEL, packable.data().train)
    manifest = msgspec.structs.replace(artifact.read_manifest(made), precision="int8")
    artifact.write_manifest(made, manifest)
    return found._replace(pruned=found.registry.add(made))


def test_a_version_that_is_served_in_int8_is_exported_so_unless_told_otherwise(
    versions: packable.Versions, tmp_path: Path
) -> None:
    int8 = sealed_in_int8(versions, tmp_path)
    registered = int8.registry.path(int8.pruned) / artifact.MODEL
    same = exported(int8, tmp_path / "same", "onnx")
    assert same.precision == "int8"
    assert Path(same.path).read_bytes() == registered.read_bytes()
    # In full precision it is made anew from the weights: the graph of the version before.
    plain = exported(int8, tmp_path / "plain", "onnx", "fp32")
    before = versions.registry.path(versions.pruned) / artifact.MODEL
    rows = packable.data().holdout.inputs
    first, second = (
        runtime.Session(path).run(rows)["scores"] for path in (Path(plain.path), before)
    )
    assert np.abs(first - second).max() < 1e-6
    assert 0.0 < plain.gap < 0.2


def test_a_loss_above_the_limit_is_refused_and_nothing_is_left(
    versions: packable.Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruin(graph: Path, target: Path, calibration: project.Split) -> None:
        dark = {name: np.zeros_like(array) for name, array in calibration.inputs.items()}
        whole(graph, target, dataclasses.replace(calibration, inputs=dark))

    # Scales from rows of zeros fit no real row.
    whole = quantize.quantize
    monkeypatch.setattr(edge.quantize, "quantize", ruin)
    with pytest.raises(errors.ArtifactError, match=r"in int8 it loses .* or raise pack.max_drop"):
        exported(versions, tmp_path / "out", "onnx", "int8")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_does_not_answer_like_the_version_is_refused(
    versions: packable.Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = versions.registry.path(versions.parent) / artifact.MODEL
    monkeypatch.setattr(edge, "_graph", lambda *_: parent)
    with pytest.raises(errors.ArtifactError, match=r"otherwise than digits:.*nothing was written"):
        exported(versions, tmp_path / "out", "onnx", "fp32")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_lie_in_the_folder_are_left_alone(
    versions: packable.Versions, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("mine")
    exported(versions, tmp_path, "onnx")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_data_that_no_longer_fit_are_an_error_of_the_project(
    versions: packable.Versions, tmp_path: Path
) -> None:
    data = dataclasses.replace(packable.data(), classes=tuple("abcdefghij"))
    own = dataclasses.replace(versions.own, load_data=lambda: data)
    with pytest.raises(errors.ProjectError, match="other inputs or classes"):
        exported(versions._replace(own=own), tmp_path, "onnx")


def test_without_openvino_nothing_is_begun(
    versions: packable.Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(errors.EngineMissing, match=r"coppice\[openvino\]"):
        exported(versions, tmp_path / "out", "openvino")
    assert not (tmp_path / "out").exists()
