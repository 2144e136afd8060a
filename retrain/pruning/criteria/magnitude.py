"""Rank by the size of the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from retrain.pruning import groups
from retrain.pruning.criteria import base


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a unit by the Euclidean norm of all weights it owns, over the group's mean norm.

    Biases are left out: they say where a channel lies, not how much it carries.

    References
    ----------
    Li et al.: Pruning Filters for Efficient ConvNets, 2017 (single layers); Fang et al.: DepGraph,
    2023 (over coupled layers).
    """
    return norms(coupled, evidence.parameters)


def norms(coupled: Sequence[groups.CoupledGroup], parameters: base.Values) -> list[torch.Tensor]:
    """Return for each group its units' norms over their mean, float64 [units]."""
    squares = {
        name: parameter.detach().square()
        for name, parameter in parameters.items()
        if not base.is_bias(name)
    }
    return [base.over_mean(groups.per_unit(group, squares).sqrt()) for group in coupled]


def weigh(names: Sequence[str], evidence: base.Evidence) -> dict[str, torch.Tensor]:
    """Score a weight by its absolute value.

    References
    ----------
    Han et al.: Learning both Weights and Connections for Efficient Neural Networks, 2015.
    """
    parameters = evidence.parameters
    return {name: parameters[name].detach().abs() for name in names}


CRITERION = base.Criterion(score=score, weigh=weigh)
