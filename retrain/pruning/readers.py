"""What reads the units of a group: the input sides of layers, and each weight's share of a sum.

A layer that reads units multiplies each with weights and sums up: a linear layer once per row, a
convolution once per patch, a recurrent layer once per step. Here such a layer is found among what a
group owns, and its sums are taken apart.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import func, nn

from retrain.pruning import groups, layers

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
TINY = torch.finfo(torch.float32).eps
"""Sums up to this are taken for nothing."""
CHUNK = 2**24
"""Most numbers that are laid out at a time; bounds memory."""


class Reader(NamedTuple):
    """A layer's input side.

    Attributes
    ----------
    module, tensor
        The layer, and the name of its weights, whose dimension 1 are the columns.
    owners
        For each column the unit that owns it, or `groups.NOBODY`.
    """

    module: str
    tensor: str
    owners: tuple[int, ...]


def of(model: nn.Module, group: groups.CoupledGroup) -> list[Reader]:
    """Return the layers that read a group's units, in the order of the group's axes.

    A convolution per channel is none: it sums over no channels. Nor is a transposed convolution,
    whose sums at one place mix several rows of weights.
    """
    found = []
    for axis in group.axes:
        name, _, tensor = axis.path.rpartition(".")
        if axis.dim == 1 and reads(model.get_submodule(name), tensor):
            found.append(Reader(name, tensor, axis.owners))
    return found


def reads(module: nn.Module, tensor: str) -> bool:
    """Say whether a tensor of a layer is weights that it sums up what it reads with."""
    if isinstance(module, nn.MultiheadAttention):
        return tensor == "in_proj_weight"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return tensor.startswith(("weight_ih", "weight_hh"))
    return isinstance(module, (nn.Linear, *layers.CONVOLUTIONS)) and tensor == "weight"


class Shares(NamedTuple):
    """How much single weights contribute to the sums of a layer.

    Attributes
    ----------
    largest
        In the shape of the weights, each in [0, 1].
    patches
        Sums per filter and row: places of a convolution, else 1.
    """

    largest: torch.Tensor
    patches: int = 1


def shares(module: nn.Module, tensor: str, values: torch.Tensor) -> Shares | None:
    """Return the largest share that each weight's product has in any sum that it is part of.

    Positive and negative weights are summed apart, and so are positive and negative values.

    Parameters
    ----------
    values
        What the layer was given, as `base.Evidence.activations` has it.

    Returns
    -------
    Shares or None
        `None` where what the weights multiply cannot be told.
    """
    weights = getattr(module, tensor).detach()
    if isinstance(module, layers.CONVOLUTIONS):
        return _of_patches(module, weights, values)
    found = _multiplied(module, tensor, values)
    if found is None:
        return None
    return Shares(_largest(weights, found.reshape(-1, weights.shape[1])))


def _multiplied(module: nn.Module, tensor: str, values: torch.Tensor) -> torch.Tensor | None:
    if isinstance(module, nn.RNNBase):
        return _steps(module, values)[tensor]
    return None if tensor == "weight_hh" else values


def _steps(module: nn.RNNBase, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run a recurrent layer depth by depth; return what each of its tensors multiplies."""
    time = 1 if module.batch_first and values.ndim == 3 else 0
    found = {}
    for depth in range(module.num_layers):
        outputs, _ = _alone(module, depth)(values)
        states = outputs.split(module.proj_size or module.hidden_size, dim=-1)
        for state, ending in zip(states, ("", "_reverse"), strict=False):
            found[f"weight_ih_l{depth}{ending}"] = values
            # The first state of each direction is zero, and the last one is not multiplied again.
            start, steps = (1 if ending else 0), state.shape[time] - 1
            found[f"weight_hh_l{depth}{ending}"] = state.narrow(time, start, steps)
        values = outputs
    return found


def _alone(module: nn.RNNBase, depth: int) -> nn.Module:
    width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    options: dict[str, Any] = {"nonlinearity": module.mode.removeprefix("RNN_").lower()}
    if not isinstance(module, nn.RNN):
        options = {"proj_size": module.proj_size} if module.proj_size else {}
    # Nowhere, so that nothing is drawn for weights that are replaced at once.
    kind: Any = type(module)
    one: nn.Module = kind(
        width if depth else module.input_size,
        module.hidden_size,
        bias=module.bias,
        batch_first=module.batch_first,
        bidirectional=module.bidirectional,
        device="meta",
        **options,
    ).to_empty(device="cpu")
    given = module.state_dict()
    one.load_state_dict(
        {name: given[name.replace("_l0", f"_l{depth}")] for name in one.state_dict()}
    )
    return one.requires_grad_(requires_grad=False)


def _of_patches(module: Convolution, weights: torch.Tensor, values: torch.Tensor) -> Shares:
    parts = weights.flatten(start_dim=1).chunk(module.groups)
    best = [torch.zeros_like(part) for part in parts]
    each = values[0].numel() * weights[0, 0].numel()
    patches = 0
    for some in torch.split(values, max(CHUNK // each, 1)):
        unfolded = _unfolded(module, some)
        patches = len(unfolded) // len(some)
        for largest, part, read in zip(
            best, parts, unfolded.chunk(module.groups, dim=1), strict=True
        ):
            torch.maximum(largest, _largest(part, read), out=largest)
    return Shares(torch.cat(best).reshape(weights.shape), patches)


def _unfolded(module: Convolution, values: torch.Tensor) -> torch.Tensor:
    """Return every patch that a convolution sums over, [patches, channels * kernel]."""
    kernel = module.weight.shape[2:]
    channels, places = module.in_channels, kernel.numel()
    # The same convolution, with filters that let one value of one channel through each.
    looks = torch.eye(places).reshape(places, 1, *kernel).repeat(channels, *[1] * (len(kernel) + 1))
    given = {"weight": looks}
    if module.bias is not None:
        given["bias"] = torch.zeros(channels * places)
    apart = copy.copy(module)
    apart.groups = channels
    patches: torch.Tensor = func.functional_call(apart, given, values)
    return patches.movedim(1, -1).reshape(-1, channels * places)


def _largest(weights: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """Return the largest shares of weights [filters, columns] over rows [rows, columns]."""
    best = torch.zeros_like(weights)
    for side in (read.clamp_min(0.0), (-read).clamp_min(0.0)):
        values = side[side.any(dim=1)]
        for signed in (weights.clamp_min(0.0), (-weights).clamp_min(0.0)):
            sums = values @ signed.T
            # A sum of nothing has no shares.
            over = torch.where(sums > TINY, 1.0 / sums, 0.0)
            columns = values.T.contiguous()
            for filter_, divisors in enumerate(over.T.contiguous()):
                largest = (columns * divisors).amax(dim=1) if len(values) else columns.sum(dim=1)
                best[filter_] = torch.maximum(best[filter_], signed[filter_] * largest)
    return best
