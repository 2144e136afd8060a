"""Which codes an input may hold, read off the graph that serves.

Called by packing. A code is looked up in a table (an embedding) by its place. Between an input and
the look-up, exported graphs only pick, turn round and shift whole numbers; that part of the graph
is run on numbers that name the elements of a row, so what reaches a table says which element is
looked up there, and by how much it was shifted. Where anything else is done to a code before (it is
clipped, hashed, compared), the model sees to it itself, and nothing is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, reference

from coppice import artifact

MOVES = frozenset(
    {
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""What takes its first input's elements to other places, by what the others say."""
SIZES = frozenset({"Shape", "Size"})
"""What reads no values."""
WHOLE = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})
"""What codes are cast to without a change."""

Ids: TypeAlias = npt.NDArray[np.int64]


class _Lookup(NamedTuple):
    """A table's length, and the tensor whose values are looked up in it."""

    length: int
    indices: str


class _Bounds(NamedTuple):
    """The least and the greatest that each element of a row may hold, [elements]."""

    low: npt.NDArray[Any]
    high: npt.NDArray[Any]


def known(path: Path, specs: Sequence[artifact.TensorSpec]) -> dict[str, artifact.Codes]:
    """Return the codes that inputs may hold, by input; without those that may hold anything.

    Parameters
    ----------
    path
        The `.onnx` file.
    specs
        Its inputs; only those of whole numbers are looked at.
    """
    whole = [spec for spec in specs if np.dtype(spec.dtype).kind in "iu"]
    if not whole:
        return {}
    model = onnx.load(path)
    bounds = {spec.name: _anything(spec) for spec in whole}
    held = _sources(model.graph)
    for each in _lookups(model.graph):
        sources = held.get(each.indices)
        if sources and sources <= bounds.keys():
            _narrow(bounds, _Part(model, each.indices, sources), each.length)
    return {
        spec.name: _told(bounds[spec.name])
        for spec in whole
        if _narrowed(bounds[spec.name], _anything(spec))
    }


def _anything(spec: artifact.TensorSpec) -> _Bounds:
    # Objects, because int64 does not hold what uint64 does.
    limits, size = np.iinfo(spec.dtype), math.prod(spec.shape)
    return _Bounds(np.full(size, limits.min, dtype=object), np.full(size, limits.max, dtype=object))


def _lookups(graph: onnx.GraphProto) -> Iterator[_Lookup]:
    tables = {each.name: each.dims for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables and _axis(node) == 0:
            yield _Lookup(tables[node.input[0]][0], node.input[1])


def _axis(node: onnx.NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == "axis"), 0)


def _narrow(bounds: Mapping[str, _Bounds], part: _Part, length: int) -> None:
    """Narrow the elements that reach a table to its places."""
    sizes = {name: len(bounds[name].low) for name in sorted(part.sources)}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    shift = part.run({name: np.zeros(size, dtype=np.int64) for name, size in sizes.items()})
    ids = part.run({name: starts[name] + np.arange(size) for name, size in sizes.items()}) - shift
    for name, size in sizes.items():
        mine = (ids >= starts[name]) & (ids < starts[name] + size)
        places, shifts = ids[mine] - starts[name], shift[mine].astype(object)
        low, high = bounds[name]
        np.maximum.at(low, places, -shifts)
        np.minimum.at(high, places, length - 1 - shifts)


def _narrowed(found: _Bounds, anything: _Bounds) -> bool:
    """Say whether anything is refused, and something is left."""
    tighter = (found.low > anything.low) | (found.high < anything.high)
    return bool(tighter.any()) and bool((found.low <= found.high).all())


def _told(found: _Bounds) -> artifact.Codes:
    pairs = {(int(low), int(high)) for low, high in zip(found.low, found.high, strict=True)}
    if len(pairs) == 1:
        low, high = pairs.pop()
        return artifact.Codes((low,), (high,))
    return artifact.Codes(tuple(map(int, found.low)), tuple(map(int, found.high)))


def _sources(graph: onnx.GraphProto) -> dict[str, frozenset[str] | None]:
    """Return by tensor the inputs whose values it holds, moved or shifted at most.

    None at all, where it follows from sizes and constants; `None` where anything else was done.
    """
    found: dict[str, frozenset[str] | None] = {
        each.name: frozenset({each.name}) for each in graph.input
    }
    for node in graph.node:
        given = [found.get(name, frozenset()) for name in node.input]
        made = _passed(node, given)
        found |= dict.fromkeys(node.output, made)
    return found


def _passed(node: onnx.NodeProto, given: list[frozenset[str] | None]) -> frozenset[str] | None:
    attributes = {each.name: each for each in node.attribute}
    if node.op_type in SIZES:
        return frozenset()
    if any(each.type == onnx.AttributeProto.GRAPH for each in node.attribute):
        return None
    sources = [each for each in given if each is not None]
    if len(sources) < len(given):
        return None
    filled = [place for place, each in enumerate(sources) if each]
    if not filled:
        return frozenset()
    first = node.op_type in {*MOVES, "Sub"} or (
        node.op_type == "Cast" and attributes["to"].i in WHOLE
    )
    # Of these one alone may hold codes; joined, each keeps its own.
    if (first and filled == [0]) or (node.op_type == "Add" and len(filled) == 1):
        return sources[filled[0]]
    return frozenset().union(*sources) if node.op_type == "Concat" else None


class _Part:
    """The part of a graph that one tensor follows from, to be run on a single row.

    Parameters
    ----------
    graph
        The whole of it.
    name
        Of the tensor.
    sources
        Inputs whose values it holds.
    """

    def __init__(self, model: onnx.ModelProto, name: str, sources: frozenset[str]) -> None:
        self.sources = sources
        graph, wanted, nodes = model.graph, {name}, []
        for node in reversed(graph.node):
            if wanted.intersection(node.output):
                nodes.append(node)
                wanted.update(node.input)
        self._shapes = {each.name: _row_shape(each) for each in graph.input if each.name in wanted}
        whole = onnx.TensorProto.INT64
        part = helper.make_graph(
            nodes[::-1],
            "codes",
            [helper.make_tensor_value_info(each, whole, None) for each in self._shapes],
            [helper.make_tensor_value_info(name, whole, None)],
            initializer=[each for each in graph.initializer if each.name in wanted],
        )
        made = helper.make_model(part, opset_imports=model.opset_import)
        self._evaluator = reference.ReferenceEvaluator(made)

    def run(self, rows: Mapping[str, Ids]) -> Ids:
        """Return the tensor, flat, for a row of every source."""
        feeds = {
            name: rows.get(name, np.zeros(math.prod(shape), dtype=np.int64)).reshape(1, *shape)
            for name, shape in self._shapes.items()
        }
        (found,) = self._evaluator.run(None, feeds)
        return np.asarray(found, dtype=np.int64).ravel()


def _row_shape(given: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in list(given.type.tensor_type.shape.dim)[1:])
