from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from coppice import artifact, project
from retrain import codes, onnx_export, reference
from tests.support import artifacts

ITEM = artifact.TensorSpec("item", "int64", (2,))
NUMBERS = {
    "one": np.array(1),
    "seven": np.array(7),
    "first": np.array(0),
    "second": np.array(1),
    "offsets": np.array([0, 3, 3, 3]),
    "renamed": np.array([2, 0, 1]),
    "far": np.array(300),
    "flat": np.array([-1]),
}


def look_up(table: str, indices: str) -> NodeProto:
    return helper.make_node("Gather", [table, indices], [f"{table}.{indices}"], axis=0)


def pick(column: str, of: str = "item") -> NodeProto:
    return helper.make_node("Gather", [of, column], [f"{of}.{column}"], axis=1)


def known(
    folder: Path,
    nodes: Sequence[NodeProto],
    tables: Mapping[str, int],
    specs: Sequence[artifact.TensorSpec] = (ITEM,),
) -> dict[str, artifact.Codes]:
    """Read the codes off a graph with tables of so many places."""
    drawn = {name: np.zeros((places, 4), dtype=np.float32) for name, places in tables.items()}
    inputs = [
        helper.make_tensor_value_info(
            spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), ["rows", *spec.shape]
        )
        for spec in specs
    ]
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(each, name) for name, each in {**NUMBERS, **drawn}.items()]
    graph = helper.make_graph(nodes, "lookups", inputs, [output], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", artifacts.OPSET)])
    onnx.save(made, str(folder / "model.onnx"))
    return codes.known(folder / "model.onnx", specs)


def test_a_code_may_be_any_place_of_its_table(tmp_path: Path) -> None:
    found = known(tmp_path, [look_up("t", "item")], {"t": 7})
    assert found == {"item": artifact.Codes((0,), (6,))}


def test_every_column_has_the_places_of_its_own_table(tmp_path: Path) -> None:
    three = artifact.TensorSpec("item", "int16", (3,))
    nodes = [
        helper.make_node("Cast", ["item"], ["wide"], to=TensorProto.INT64),
        pick("first", "wide"),
        look_up("t", "wide.first"),
        pick("second", "wide"),
        look_up("u", "wide.second"),
    ]
    found = known(tmp_path, nodes, {"t": 3, "u": 5}, [three])
    # Nothing looks the third up, so it may be anything that 16 bits hold.
    assert found == {"item": artifact.Codes((0, 0, -(2**15)), (2, 4, 2**15 - 1))}


def test_a_code_that_two_tables_read_has_to_be_in_both(tmp_path: Path) -> None:
    found = known(tmp_path, [look_up("t", "item"), look_up("u", "item")], {"t": 9, "u": 4})
    assert found == {"item": artifact.Codes((0,), (3,))}


def test_a_shift_before_the_look_up_shifts_what_is_known(tmp_path: Path) -> None:
    # -1 stands for a code that is not known, and lies in the table's first place.
    nodes = [helper.make_node("Add", ["item", "one"], ["moved"]), look_up("t", "moved")]
    assert known(tmp_path, nodes, {"t": 8}) == {"item": artifact.Codes((-1,), (6,))}
    nodes = [helper.make_node("Sub", ["item", "one"], ["moved"]), look_up("t", "moved")]
    assert known(tmp_path, nodes, {"t": 8}) == {"item": artifact.Codes((1,), (8,))}


def test_inputs_that_are_joined_keep_their_own_shares_of_a_table(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["user", "item"], ["both"], axis=1),
        helper.make_node("Add", ["both", "offsets"], ["moved"]),
        look_up("t", "moved"),
    ]
    found = known(tmp_path, nodes, {"t": 10}, [artifact.TensorSpec("user", "int64", (2,)), ITEM])
    # All but the first column are moved by 3, so of these the tenth place is code 6.
    assert found == {
        "user": artifact.Codes((0, -3), (9, 6)),
        "item": artifact.Codes((-3,), (6,)),
    }


def test_codes_that_are_renamed_by_a_table_are_places_of_that_one(tmp_path: Path) -> None:
    found = known(tmp_path, [look_up("renamed", "item"), look_up("t", "renamed.item")], {"t": 50})
    assert found == {"item": artifact.Codes((0,), (2,))}


def test_the_shape_alone_may_follow_from_another_input(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["age"], ["sizes"]),
        helper.make_node("Reshape", ["item", "flat"], ["long"]),
        helper.make_node("Reshape", ["long", "sizes"], ["shaped"]),
        look_up("t", "shaped"),
    ]
    age = artifact.TensorSpec("age", "float32", (2,))
    assert known(tmp_path, nodes, {"t": 7}, [ITEM, age]) == {"item": artifact.Codes((0,), (6,))}


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Clip", ["item", "first", "seven"], ["changed"]),
        helper.make_node("Mod", ["item", "seven"], ["changed"]),
        helper.make_node("Mul", ["item", "one"], ["changed"]),
        helper.make_node("Sub", ["seven", "item"], ["changed"]),
        helper.make_node("Add", ["item", "item"], ["changed"]),
        helper.make_node("Cast", ["item"], ["changed"], to=TensorProto.UINT8),
    ],
    ids=["clipped", "hashed", "multiplied", "turned", "added", "narrowed"],
)
def test_of_codes_that_the_model_sees_to_itself_nothing_is_said(
    tmp_path: Path, node: NodeProto
) -> None:
    assert known(tmp_path, [node, look_up("t", "changed")], {"t": 7}) == {}


def test_codes_with_which_the_model_could_do_nothing_are_left_to_it(tmp_path: Path) -> None:
    # A byte is never as large as 300; whoever moved it up means something else.
    byte = artifact.TensorSpec("item", "uint8", (2,))
    nodes = [
        helper.make_node("Cast", ["item"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Sub", ["wide", "far"], ["moved"]),
        look_up("t", "moved"),
    ]
    assert known(tmp_path, nodes, {"t": 7}, [byte]) == {}


def test_a_byte_that_always_has_a_place_needs_no_bounds(tmp_path: Path) -> None:
    byte = artifact.TensorSpec("item", "uint8", (2,))
    nodes = [
        helper.make_node("Cast", ["item"], ["wide"], to=TensorProto.INT64),
        look_up("t", "wide"),
    ]
    assert known(tmp_path, nodes, {"t": 256}, [byte]) == {}


def test_a_graph_of_floats_is_not_even_read(tmp_path: Path) -> None:
    assert codes.known(tmp_path / "none.onnx", [artifact.TensorSpec("x", "float32", (4,))]) == {}


class Shop(nn.Module):
    """A table for users, one for three fields side by side, and an age."""

    offsets: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.user, self.fields = nn.Embedding(10, 4), nn.Embedding(60, 4)
        self.register_buffer("offsets", torch.tensor([0, 20, 40]))
        self.head = nn.Linear(4, 2)

    def forward(self, user: torch.Tensor, fields: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        side = self.fields(fields.long() + self.offsets).sum(dim=1)
        found = self.user(user.squeeze(-1)) + side + age[:, None].float()
        return self.head(found)  # type: ignore[no-any-return]


def test_what_torch_exports_is_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    inputs: dict[str, project.Array] = {
        "user": random.integers(0, 10, (80, 1)),
        "fields": random.integers(0, 20, (80, 3)).astype(np.int32),
        "age": random.integers(0, 90, 80),
    }
    rows = project.Split(inputs=inputs, targets=np.arange(80) % 2)
    onnx_export.export(Shop().eval(), rows, tmp_path / "model.onnx", task="multiclass")
    assert codes.known(tmp_path / "model.onnx", reference.input_specs(rows)) == {
        "user": artifact.Codes((0,), (9,)),
        "fields": artifact.Codes((0, -20, -40), (59, 39, 19)),
    }
