"""Stand-ins: what is traced instead of a layer that the dependency graph cannot follow.

The graph follows autograd from one layer it knows to the next. A recurrent layer or an attention is
to it one opaque operation, or an operation that it reads wrongly. So in the *traced copy* of the
model, and only there, such a layer is replaced by a stand-in: a module made of `nn.Linear` layers
that has the same arguments, gives answers of the same shapes, and lets a channel go in and out
wherever the real layer does. Its values mean nothing.

For each of its linear layers a stand-in says by a `Part` what the real layer loses when that linear
layer loses a channel on one of its sides: slots and attributes of the REAL layer, as in the table
`layers`. The groups found in the copy are translated by it into axes of the real model, so that
neither the record nor the cut ever knows of stand-ins. Whether the translation was right is found
out by the trial, which compares the cut with the masked model, both made of real layers.

To add a kind: write a subclass of `StandIn` and add it to `neurons.STAND_INS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from retrain.pruning import layers


class Part(NamedTuple):
    """What a linear layer of a stand-in stands for.

    Attributes
    ----------
    layer
        The linear layer in the traced copy.
    out, into
        What the real layer loses with a channel that this one gives, or reads; or the reason why
        nothing can be lost there.
    counted
        The real layer's attribute that counts the channels of each of its parts that names it: as
        many must stay in all of them, but which ones may differ. Empty: the part is on its own, and
        what it counts is among the attributes of `out`.
    """

    layer: nn.Linear
    out: layers.Loss | str
    into: layers.Loss | str
    counted: str = ""


class StandIn(nn.Module):
    """A module that is traced instead of `real`, which it asks for every attribute of its own."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        # In a tuple, so that torch does not count it, or its parameters, among the copy's.
        self.held = (real,)

    def __getattr__(self, name: str) -> Any:
        """Answer for the real layer, whose sizes a user's forward may ask for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "held":
                raise
            return getattr(self.held[0], name)

    def parts(self) -> Iterator[Part]:
        """Yield what each linear layer stands for."""
        raise NotImplementedError


Kinds = Sequence[tuple[tuple[type[nn.Module], ...], type[StandIn]]]


def install(model: nn.Module, kinds: Kinds) -> dict[str, StandIn]:
    """Replace in a copy of a model every module of the given kinds; return what stands where.

    A module that the model holds under several names gets one stand-in, returned by the first.
    """
    made: dict[int, StandIn] = {}
    placed: dict[str, StandIn] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        found = next((kind for types, kind in kinds if isinstance(module, types)), None)
        if found is None or not name:
            continue
        if id(module) not in made:
            made[id(module)] = placed[name] = found(module)
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, made[id(module)])
    return placed


_NORMS = (
    (nn.InstanceNorm1d, nn.BatchNorm1d),
    (nn.InstanceNorm2d, nn.BatchNorm2d),
    (nn.InstanceNorm3d, nn.BatchNorm3d),
)


def familiarise(model: nn.Module) -> None:
    """Replace in a copy layers that the graph takes wrongly by others that lead channels alike.

    It does not know instance norms, and what passes a PReLU of one slope is to it one channel.
    """
    for name, module in list(model.named_modules()):
        other: nn.Module | None = None
        if isinstance(module, nn.PReLU) and module.num_parameters == 1:
            other = nn.LeakyReLU()
        for kind, familiar in _NORMS:
            if isinstance(module, kind):
                other = familiar(module.num_features)
        if other is not None and name:
            model.set_submodule(name, other.train(module.training))


def linear(inputs: int, outputs: int, like: torch.Tensor) -> nn.Linear:
    """Return a linear layer that draws nothing, so that tracing leaves torch's generator alone."""
    make = cast("Callable[..., nn.Linear]", nn.utils.skip_init)
    layer = make(nn.Linear, inputs, outputs, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0 / inputs)
    return layer
