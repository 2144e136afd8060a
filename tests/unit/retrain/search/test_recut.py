from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from retrain import onnx_export, store
from retrain.pruning import groups, recipe, surgery
from retrain.search import chain, grounds, recut, subject
from tests.support import architectures

NETS = architectures.ARCHITECTURES


def cut_in_half(kind: str, out: int = 0) -> tuple[subject.Subject, subject.Structure]:
    made = NETS[kind]
    model, data = made.model(), made.data()
    asked = grounds.Asked(chain.parted(recipe.Recipe(align=1)), leave_out=out > 0)
    plan = grounds.Plan(asked=asked, task=made.task, seed=0, key={})
    with tempfile.TemporaryDirectory() as folder:
        laid = grounds.lay(model, data.train, plan, store.Store(Path(folder)))
    of = subject.Subject(
        model=model,
        grounds=laid.grounds,
        chain=laid.chain,
        data=data,
        task=made.task,
        scale=1.0,
        seed=0,
        key={},
    )
    half = {
        group.name: groups.kept_count(
            group.units, 0.5, blocks=group.blocks, width=group.width, runs=group.runs
        )
        for group in of.grounds[out].coupled
    }
    return of, of.structure(subject.Shape(out, half))


@pytest.mark.parametrize("kind", ["residual-cnn", "depthwise-cnn", "mlp", "recommender"])
def test_a_graph_is_cut_without_an_export_and_answers_like_the_cut_model(
    kind: str, tmp_path: Path
) -> None:
    of, structure = cut_in_half(kind)
    dense, pruned = tmp_path / "dense.onnx", tmp_path / "pruned.onnx"
    onnx_export.export(of.model, of.training, dense, task=of.task)
    assert recut.recut(dense, structure, of.training, pruned, task=of.task)
    assert pruned.stat().st_size < dense.stat().st_size


def test_the_graph_of_a_model_without_a_block_is_cut_the_same_way(tmp_path: Path) -> None:
    of, structure = cut_in_half("residual-cnn", out=1)
    without, pruned = tmp_path / "without.onnx", tmp_path / "pruned.onnx"
    onnx_export.export(of.grounds[1].model, of.training, without, task=of.task)
    assert recut.recut(without, structure, of.training, pruned, task=of.task)
    assert pruned.stat().st_size < without.stat().st_size


def test_a_cut_graph_is_as_large_as_the_exported_one(tmp_path: Path) -> None:
    of, structure = cut_in_half("residual-cnn")
    dense, pruned, real = (tmp_path / f"{name}.onnx" for name in ("dense", "pruned", "real"))
    onnx_export.export(of.model, of.training, dense, task=of.task)
    onnx_export.export(structure.model, of.training, real, task=of.task)
    assert recut.recut(dense, structure, of.training, pruned, task=of.task)
    # The same tensors; what is written down beside them takes some hundred bytes.
    assert pruned.stat().st_size == pytest.approx(real.stat().st_size, rel=0.1)


def test_a_graph_whose_tensors_the_exporter_has_rearranged_is_left_to_an_export(
    tmp_path: Path,
) -> None:
    of, structure = cut_in_half("lstm")
    dense, pruned = tmp_path / "dense.onnx", tmp_path / "pruned.onnx"
    onnx_export.export(of.model, of.training, dense, task=of.task)
    assert not recut.recut(dense, structure, of.training, pruned, task=of.task)
    assert not pruned.exists()


def test_a_graph_of_other_weights_is_refused(tmp_path: Path) -> None:
    of, structure = cut_in_half("mlp")
    dense, pruned = tmp_path / "dense.onnx", tmp_path / "pruned.onnx"
    onnx_export.export(NETS["mlp"].model(seed=1), of.training, dense, task=of.task)
    assert not recut.recut(dense, structure, of.training, pruned, task=of.task)
    assert not pruned.exists()


def test_the_record_of_another_model_is_refused(tmp_path: Path) -> None:
    of, structure = cut_in_half("mlp")
    _, other = cut_in_half("residual-cnn")
    dense = tmp_path / "dense.onnx"
    onnx_export.export(of.model, of.training, dense, task=of.task)
    mixed = subject.Structure(
        0,
        structure.model,
        surgery.Surgery(cuts=other.record.cuts, selections=other.record.selections),
    )
    assert not recut.recut(dense, mixed, of.training, tmp_path / "x.onnx", task=of.task)
