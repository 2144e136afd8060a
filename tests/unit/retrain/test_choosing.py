from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from coppice import errors, runtime, settings
from retrain import choosing, onnx_export
from retrain.evaluate import answers
from tests.support import needs, packable


@functools.cache
def graph_of(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx_export.export(
            packable.trained(name), packable.data().validation, path, task="multiclass"
        )
        return path.read_bytes()


def exported(name: str, folder: Path) -> Path:
    graph = folder / "model.onnx"
    graph.write_bytes(graph_of(name))
    return graph


def wish(**section: object) -> choosing.Wish:
    return choosing.Wish(
        section=settings.PackSettings.model_validate(section), rules=packable.RULES
    )


def no_race(*_: object, **__: object) -> None:
    raise AssertionError("nothing was to be raced")


def test_by_default_the_exported_graph_serves_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing.timing, "workers", no_race)
    graph = exported("digits", tmp_path)
    before = graph.read_bytes()
    found = choosing.choose(graph, packable.data(), wish())
    assert [way.name for way in found.tried] == ["onnxruntime fp32"]
    assert found.packed(graph) == (graph, "onnxruntime", "fp32")
    assert found.taken.bytes == len(before)
    assert graph.read_bytes() == before


def test_int8_is_taken_where_it_keeps_the_score_and_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packable.time_by_size(monkeypatch)
    graph = exported("wide", tmp_path)
    plain = answers.of_graph(runtime.Packed(graph), packable.data().validation)
    size = graph.stat().st_size
    found = choosing.choose(
        graph, packable.data(), wish(precision="int8", batch_rows=16, max_drop=0.05)
    )
    assert found.taken.name == "onnxruntime int8", found.tried
    assert found.taken.times["16"].low == pytest.approx(size / graph.stat().st_size)
    assert set(found.taken.times) == {"1", "16", "32"}
    # The graph that serves is the int8 one: a quarter of 4 x 646,666 bytes, and some nodes.
    assert graph.stat().st_size == found.taken.bytes
    assert graph.stat().st_size < 0.3 * size
    int8 = answers.of_graph(found.packed(graph), packable.data().validation)
    assert found.taken.quality is not None
    differs = (plain.argmax(axis=1) != int8.argmax(axis=1)).mean()
    assert found.taken.quality.disagreement == differs
    assert not np.array_equal(plain, int8)


def test_int8_is_refused_where_it_costs_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing.timing, "workers", no_race)
    graph = exported("skewed", tmp_path)
    before = graph.read_bytes()
    found = choosing.choose(graph, packable.data(), wish(precision="int8"))
    plain, int8 = found.tried
    assert (plain.taken, int8.taken) == (True, False)
    # The giant takes all 255 steps, so the other values are zero: the net is left with guessing.
    assert int8.quality is not None
    assert int8.quality.drop > 0.3
    assert "more than 0.20 points" in int8.reason
    assert graph.read_bytes() == before


def test_int8_is_refused_where_it_does_not_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packable.time_by_size(monkeypatch)
    graph = exported("wide", tmp_path)
    before = graph.read_bytes()
    found = choosing.choose(
        graph, packable.data(), wish(precision="int8", min_gain=4.5, max_drop=1.0)
    )
    assert found.taken.precision == "fp32"
    assert found.tried[1].reason.endswith("not surely 4.50 times")
    assert graph.read_bytes() == before


def test_every_engine_and_precision_is_tried_and_keeps_the_score(tmp_path: Path) -> None:
    needs.openvino()
    graph = exported("wide", tmp_path)
    engines = ("onnxruntime", "openvino")
    found = choosing.choose(
        graph, packable.data(), wish(precision="auto", engines=engines, max_drop=0.05)
    )
    assert [way.name for way in found.tried] == [
        "onnxruntime fp32",
        "openvino fp32",
        "openvino bf16",
        "onnxruntime int8",
        "openvino int8",
    ]
    assert sum(way.taken for way in found.tried) == 1
    distances = [way.quality.drop for way in found.tried if way.quality is not None]
    # A few rows of the 100, as the processor rounds; full precision on another engine loses none.
    assert len(distances) == 4
    assert distances[0] == 0.0
    assert max(map(abs, distances)) <= 0.05
    assert all(set(way.times) == {"1", "32"} for way in found.tried)


def test_another_engine_that_is_not_exact_in_full_precision_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.openvino()
    graph = exported("digits", tmp_path)
    monkeypatch.setattr(choosing.onnx_export, "PARITY", -1.0)
    found = choosing.choose(graph, packable.data(), wish(engines=("onnxruntime", "openvino")))
    assert found.taken.engine == "onnxruntime"
    assert found.tried[1].reason.startswith("in full precision it differs by ")


@pytest.mark.parametrize(
    ("precision", "ways"),
    [
        ("fp32", ["openvino fp32", "onnxruntime fp32"]),
        ("bf16", ["openvino fp32", "onnxruntime fp32", "openvino bf16"]),
        (
            "int8",
            ["openvino fp32", "onnxruntime fp32", "openvino int8", "onnxruntime int8"],
        ),
    ],
)
def test_the_first_engine_named_is_the_one_to_beat(precision: str, ways: list[str]) -> None:
    section = wish(precision=precision, engines=("openvino", "onnxruntime")).section
    assert [way.name for way in choosing.ways(section)] == ways


def test_an_engine_that_is_not_installed_is_no_reason_but_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = exported("digits", tmp_path)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(errors.EngineMissing, match=r"coppice\[openvino\]"):
        choosing.choose(graph, packable.data(), wish(engines=("onnxruntime", "openvino")))
    with pytest.raises(errors.EngineMissing, match=r"coppice\[openvino\]"):
        choosing.check(wish(engines=("onnxruntime", "openvino")).section)


def test_a_graph_that_cannot_be_quantized_is_served_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise errors.ArtifactError("nothing to quantize")

    monkeypatch.setattr(choosing.quantize, "quantize", refuse)
    found = choosing.choose(exported("digits", tmp_path), packable.data(), wish(precision="int8"))
    assert [(way.taken, way.reason) for way in found.tried] == [
        (True, "nothing else holds"),
        (False, "nothing to quantize"),
    ]
    assert found.tried[1].bytes is None


def test_the_time_on_the_wall_counts_where_several_threads_run() -> None:
    assert wish().clock == "cpu"
    assert choosing.Wish(section=wish().section, rules=packable.RULES, threads=2).clock == "wall"
