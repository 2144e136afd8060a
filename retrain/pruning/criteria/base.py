"""What a criterion is, and what it may look at.

A criterion is plain functions. It sees all groups at once because gradients come as a stream that
is read a single time; scores never depend on the order of the groups, and lower ones go first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import nn

from retrain import train
from retrain.pruning import groups

Values: TypeAlias = Mapping[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What a criterion may look at.

    Attributes
    ----------
    model
        In evaluation mode; a criterion changes nothing of it.
    gradients
        Starts a stream of the loss's gradients by parameter name, one mapping per minibatch.
    activations
        Given names of modules, starts a stream of what each of them reads (its first argument),
        one mapping per minibatch; a module that is called several times gives the calls' rows one
        after the other.
    loss_of
        Mean loss of a model like this one on the scoring rows.
    seed
        For criteria that draw.
    outputs
        As `activations`, of what each module gives: one tensor, as blocks do.
    """

    model: nn.Module
    gradients: Callable[[], Iterator[Values]]
    activations: Callable[[Sequence[str]], Iterator[Values]]
    loss_of: Callable[[nn.Module], float]
    seed: int = 0
    outputs: Callable[[Sequence[str]], Iterator[Values]] = lambda _: iter(())

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The model's parameters by name."""
        return dict(self.model.named_parameters())


Score: TypeAlias = Callable[[Sequence[groups.CoupledGroup], Evidence], list[torch.Tensor]]
Weigh: TypeAlias = Callable[[Sequence[str], Evidence], dict[str, torch.Tensor]]
Penalty: TypeAlias = Callable[[Sequence[groups.CoupledGroup], nn.Module, float], train.Penalty]
Allocate: TypeAlias = Callable[[Sequence[groups.CoupledGroup], Evidence, float], list[float]]
Compensate: TypeAlias = Callable[
    [groups.CoupledGroup, torch.Tensor, Sequence[int], int], torch.Tensor
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Criterion:
    """How units, blocks or single weights are ranked; what it cannot rank it leaves `None`.

    Attributes
    ----------
    levels
        Where `score` ranks: `neuron` (groups of channels), `layer` (the group of blocks), or both.
        Single weights are ranked by `weigh`.
    score
        For each group one score per unit, float64 [units], finite and at least 0.
    weigh
        For each named tensor one score per weight, in its shape, finite and at least 0.
    penalty
        Builds what is added to the loss while the network is trained sparse before it is scored;
        given the groups, the model and the recipe's `sparse_strength`.
    allocate
        Says which share of each group goes, in [0, 1), so that `amount` of all units goes.
    compensate
        Given a group, its scores, the units that stay and the seed: what each unit is multiplied
        with where a layer reads it, float64 [units], so that the layer's sums stay as they were.
    """

    levels: tuple[str, ...] = ("neuron", "layer")
    score: Score | None = None
    weigh: Weigh | None = None
    penalty: Penalty | None = None
    allocate: Allocate | None = None
    compensate: Compensate | None = None


def is_bias(name: str) -> bool:
    """Say whether a parameter is a bias, by its name.

    >>> [is_bias(name) for name in ("fc.bias", "cells.bias_hh_l0", "bias.weight")]
    [True, True, False]
    """
    return "bias" in name.rpartition(".")[2]


def over_mean(norms: torch.Tensor) -> torch.Tensor:
    """Return norms in units of their mean; zeros, which have nothing to tell apart, stay zeros."""
    return norms / norms.mean().clamp_min(torch.finfo(norms.dtype).tiny)
