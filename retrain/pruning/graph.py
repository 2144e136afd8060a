"""The adapter to Torch-Pruning's dependency graph: which channels of which layers hang together.

Only its tracing is used, on a copy of the model. Its pruners and importance classes are never
called, because they keep models alive through mutable defaults, leave layers dense where rounding
reaches zero, and lose channels to float truncation.

A group of the graph is a list of items. An item says of one layer (`item.dep.target.module`) which
channels (`item.idxs`) go on which side, and for each of them the root layer's (`item.root_idxs`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch_pruning import ops
from torch_pruning.dependency import shape_infer

from coppice import errors
from retrain import network
from retrain.pruning import layers, rewriting, views

TRACE_ERRORS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the graph builder raises on a network that it cannot follow."""


def build(model: nn.Module, inputs: network.Tensors) -> Any:
    """Trace a model in place: it is put into evaluation mode, and nothing else.

    Parameters
    ----------
    inputs
        Those that are parameters are part of the graph, so that what is added to them is found.

    Raises
    ------
    PruningError
        The forward pass fails, or cannot be followed.
    """
    watched = [(tensor, 1) for tensor in inputs.values() if isinstance(tensor, nn.Parameter)]
    rewriter = rewriting.Rewriting()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            found = torch_pruning.DependencyGraph().build_dependency(
                model,
                inputs,  # pyright: ignore[reportArgumentType]
                # Its annotations say less than it takes: any inputs, and a list of pairs.
                forward_fn=functools.partial(_call, rewriter),  # pyright: ignore[reportArgumentType]
                unwrapped_parameters=watched,  # pyright: ignore[reportArgumentType]
                customized_pruners={},
                ignored_layers=[],
                ignored_params=[],
                verbose=False,
            )
            _teach_joins(found, rewriter.joins)
            _teach(found, rewriter.views)
    except TRACE_ERRORS as cause:
        message = (
            f"the network cannot be traced ({type(cause).__name__}: {cause}); its forward "
            "must be made of torch operations that autograd can follow"
        )
        raise errors.PruningError(message) from cause
    return found


def _call(
    rewriter: rewriting.Rewriting, model: nn.Module, tensors: network.Tensors
) -> torch.Tensor:
    with rewriter:
        return network.call(model, tensors)


def _teach(graph: Any, noted: Mapping[Any, tuple[views.Shape, views.Shape]]) -> None:
    """Tell the graph how channels lie after each view, known by its node of autograd."""
    # Of views its own rule knows one layout; what it found while building is kept where we do not.
    graph._2d_4d = False  # noqa: SLF001 - the switch of that rule
    for node in graph.module2node.values():
        if node.grad_fn not in noted or not isinstance(node.module, ops._ReshapeOp):  # noqa: SLF001 - it has no public name
            continue
        (source,) = node.inputs
        channels = shape_infer.infer_out_channels_recursively(graph, source, [0])
        found = views.places(*noted[node.grad_fn], channels) if channels else None
        if found is not None:
            for one, other, back in ((source, node, False), (node, source, True)):
                for link in one.dependencies:
                    if link.target is other:
                        link.index_mapping[0] = views.Follow(found, back=back)


def _teach_joins(graph: Any, noted: Mapping[Any, tuple[views.Span, ...]]) -> None:
    """Tell the graph where the parts of each join lie, known by its node of autograd."""
    for node in graph.module2node.values():
        spans = noted.get(node.grad_fn, ())
        if len(spans) != len(node.inputs) or not isinstance(node.module, ops._ConcatOp):  # noqa: SLF001 - it has no public name
            continue
        taught: list[Any] = []
        for source, span in zip(node.inputs, spans, strict=True):
            for one, other, back in ((source, node, False), (node, source, True)):
                # What is joined with itself has two links each way, in the order of its places.
                link = next(
                    link
                    for link in one.dependencies
                    if link.target is other and not any(link is old for old in taught)
                )
                link.index_mapping[1] = views.Follow(span.places, back=back)
                taught.append(link)


def coupled(graph: Any, roots: tuple[type[nn.Module], ...]) -> Iterator[Any]:
    """Yield the group of each layer of these kinds that is in no group before."""
    seen: set[int] = set()
    for module in list(graph.module2node):
        if not isinstance(module, roots) or id(module) in seen:
            continue
        pruner = graph.get_pruner_of_module(module)
        channels = list(range(pruner.get_out_channels(module)))
        items = graph.get_pruning_group(module, pruner.prune_out_channels, channels)
        if len(channels) > 1:
            # A single channel is a weight of many: their group has to be found by itself.
            seen |= {id(item.dep.target.module) for item in items if side(item) == "out"}
        yield items


def side(item: Any) -> layers.Side:
    """Say on which side of its layer an item's channels go."""
    return "in" if item.dep.handler.__name__ == "prune_in_channels" else "out"


def answers(item: Any) -> bool:
    """Say whether an item's channels are in the model's answer, and were not summed up before."""
    node = item.dep.target
    if node.outputs:
        return False
    shape = node.module.shape if isinstance(node.module, ops._OutputOp) else None  # noqa: SLF001 - it has no public name
    return shape is None or (len(shape) > 1 and max(item.idxs) < shape[-1])


def splits(item: Any) -> bool:
    """Say whether an item is an operation that parts channels."""
    return type(item.dep.target.module).__name__ in {"_SplitOp", "_UnbindOp", "_SliceOp"}


def mixes(item: Any) -> bool:
    """Say whether an item is a product of two activations, as attention makes."""
    text = repr(item.dep.target.module)
    return any(word in text for word in ("BmmBackward", "ScaledDotProduct"))
