from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from coppice import artifact, errors, numbers, openvino, runtime
from tests.support import artifacts, needs

needs.openvino()

ROOT = Path(__file__).parents[3]
ROWS = {"x": artifacts.rows(5)}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    artifacts.linear_classifier(tmp_path / "made")
    return tmp_path / "made" / artifact.MODEL


@pytest.mark.parametrize(
    ("precision", "distance"), [("fp32", 1e-6), ("int8", 1e-6), ("bf16", 0.01)]
)
def test_it_answers_like_onnx_runtime(
    graph: Path, precision: artifact.Precision, distance: float
) -> None:
    # bfloat16 has 8 bits of precision: a logit below 8 is off by at most 8 / 512, so a
    # probability, whose slope is at most 1/4, by at most 0.004. Nothing here is quantized.
    expected = runtime.Session(graph).run(ROWS)["scores"]
    found = openvino.Session(graph, precision=precision).run(ROWS)["scores"]
    assert np.abs(found - expected).max() <= distance


def test_inputs_and_outputs_go_by_the_names_of_the_graph(tmp_path: Path) -> None:
    artifacts.linear_classifier(tmp_path, components=np.eye(4)[:2])
    session = openvino.Session(tmp_path / artifact.MODEL)
    assert (session.inputs, session.outputs) == (("x",), ("scores", "embedding"))
    assert np.array_equal(session.run(ROWS)["embedding"], ROWS["x"])


def test_an_answer_stays_as_it_is_when_the_next_batch_is_answered(graph: Path) -> None:
    session = openvino.Session(graph)
    first = session.run(ROWS)["scores"]
    kept = first.copy()
    session.run({"x": -ROWS["x"]})
    assert np.array_equal(first, kept)


def test_threads_may_ask_at_the_same_time(graph: Path) -> None:
    session = openvino.Session(graph, threads=2)
    batches = [{"x": artifacts.rows(7, seed=seed)} for seed in range(8)]
    expected = [session.run(batch)["scores"] for batch in batches]
    found: dict[int, list[bool]] = {at: [] for at in range(8)}

    def ask(at: int) -> None:
        for _ in range(50):
            answer = session.run(batches[at])["scores"]
            found[at].append(np.array_equal(answer, expected[at]))

    asking = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
    [thread.start() for thread in asking]
    [thread.join() for thread in asking]
    assert found == {at: [True] * 50 for at in range(8)}


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"x": np.zeros((2, 7), np.float32)}, r"'x' is float32 \[2, 7\].* takes float32 \[\?,4\]"),
        ({"x": np.zeros((2, 4))}, r"'x' is float64 \[2, 4\]"),
        ({"y": np.zeros((2, 4), np.float32)}, r"takes \('x',\), not \['y'\]"),
        ({}, r"takes \('x',\), not \[\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    graph: Path, inputs: dict[str, runtime.Array], text: str
) -> None:
    session = openvino.Session(graph)
    session.run(ROWS)
    with pytest.raises(errors.ArtifactError, match=text):
        session.run(inputs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int64", "bool", "uint8"])
def test_numbers_of_every_kind_are_taken(dtype: str, tmp_path: Path) -> None:
    kinds = {
        "bfloat16": TensorProto.BFLOAT16,
        "float16": TensorProto.FLOAT16,
        "int64": TensorProto.INT64,
        "bool": TensorProto.BOOL,
        "uint8": TensorProto.UINT8,
    }
    cast = helper.make_node("Cast", ["x"], ["scores"], to=TensorProto.FLOAT)
    made = helper.make_graph(
        [cast],
        "cast",
        [helper.make_tensor_value_info("x", kinds[dtype], ["rows", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 2])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=8), tmp_path / "g.onnx")
    rows = np.array([[1, 0], [0, 1], [1, 1]]).astype(numbers.BFLOAT16).astype(dtype)
    found = openvino.Session(tmp_path / "g.onnx").run({"x": rows})["scores"]
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("name", ["nowhere.onnx", "text.onnx"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.onnx").write_bytes(b"no graph")
    with pytest.raises(errors.ArtifactError, match=rf"{name} cannot be loaded: "):
        openvino.Session(tmp_path / name)


def test_its_own_format_holds_the_same_weights(graph: Path, tmp_path: Path) -> None:
    openvino.convert(graph, tmp_path / "model.xml")
    expected = openvino.Session(graph).run(ROWS)["scores"]
    found = openvino.Session(tmp_path / "model.xml").run(ROWS)["scores"]
    assert np.array_equal(found, expected)
    # 4 x 2 weights and 2 biases of four bytes; halves would be 20 bytes.
    assert (tmp_path / "model.bin").stat().st_size >= 40


def test_a_graph_that_is_none_cannot_be_converted(tmp_path: Path) -> None:
    with pytest.raises(errors.ArtifactError, match="cannot be written as"):
        openvino.convert(tmp_path / "none.onnx", tmp_path / "model.xml")


def fresh(program: str, home: Path) -> str:
    """Run a program in a new process with a home folder of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_its_makers_are_told_nothing(tmp_path: Path) -> None:
    # The telemetry package keeps an id and counts in ~/intel as soon as it is imported.
    told = "any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    program = f"import sys; from coppice import openvino; openvino.library(); print({told})"
    assert fresh(program, tmp_path) == "False\n"
    assert list(tmp_path.iterdir()) == []


def test_where_it_is_not_installed_the_message_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['openvino'] = None\n"
        "from coppice import errors, runtime\n"
        "try: runtime.require('openvino')\n"
        "except errors.EngineMissing as problem: print(problem.exit_code, problem)"
    )
    found = fresh(program, tmp_path)
    assert found.startswith("8 OpenVINO cannot be loaded")
    assert "pip install 'coppice[openvino]'" in found
