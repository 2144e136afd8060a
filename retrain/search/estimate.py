"""How many multiply-accumulates widths would leave, from one count of the dense model.

Each layer's count shrinks as its matrices do. That is exact for linear layers and convolutions, and
near enough for the rest: it only chooses which structures are built and measured.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain.pruning import groups, schedule


class Estimate:
    """What is left of a dense model's multiply-accumulates.

    Parameters
    ----------
    model
        The dense model, prepared to be cut; it is not kept.
    coupled
        Its groups.
    """

    def __init__(
        self, model: nn.Module, split: project.Split, coupled: Sequence[groups.CoupledGroup]
    ) -> None:
        self._names = [group.name for group in coupled]
        self._units = np.array([group.units for group in coupled], dtype=np.float64)
        self._macs = schedule.macs_by_layer(model, split)
        self._sizes = {layer: _sizes(model, layer) for layer in self._macs}
        self._owned = _owned(coupled)

    def macs(self, kept: Mapping[str, Floats], rows: int) -> Floats:
        """Return the multiply-accumulates of so many combinations at once, [combinations].

        Parameters
        ----------
        kept
            Units that stay, by group, for each combination; groups that are left out stay whole.
        """
        gone = {
            name: 1.0 - kept[name] / units
            for name, units in zip(self._names, self._units, strict=True)
            if name in kept
        }
        total = np.zeros(rows)
        for layer, macs in self._macs.items():
            left = whole = np.zeros(rows)
            for path, shape in self._sizes[layer].items():
                numel = float(np.prod(shape))
                whole = whole + numel
                left = left + numel * self._share(path, shape, gone, rows)
            # What has no matrix of its own, such as a product of activations, counts in full.
            total += macs * np.where(whole > 0, left / np.maximum(whole, 1.0), 1.0)
        return total

    def _share(
        self, path: str, shape: Sequence[int], gone: Mapping[str, Floats], rows: int
    ) -> Floats:
        """Return the share of a tensor that stays: the product over its dimensions."""
        share = np.ones(rows)
        for dim, size in enumerate(shape):
            lost = np.zeros(rows)
            for name, indices in self._owned.get((path, dim), {}).items():
                lost = lost + indices / size * gone.get(name, 0.0)
            share = share * (1.0 - lost)
        return share


def _sizes(model: nn.Module, layer: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the matrices and filters that a layer owns itself."""
    prefix = f"{layer}." if layer else ""
    own = model.get_submodule(layer).named_parameters(recurse=False)
    return {prefix + name: tuple(tensor.shape) for name, tensor in own if tensor.ndim > 1}


def _owned(
    coupled: Sequence[groups.CoupledGroup],
) -> dict[tuple[str, int], dict[str, int]]:
    """Return for each dimension of each tensor how many of its indices each group owns."""
    found: dict[tuple[str, int], dict[str, int]] = collections.defaultdict(dict)
    for group in coupled:
        for axis in group.axes:
            if axis.dim is not None:
                owned = sum(owner != groups.NOBODY for owner in axis.owners)
                found[axis.path, axis.dim][group.name] = owned
    return found
