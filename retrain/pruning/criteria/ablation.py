"""Rank blocks by what it costs to leave them out, one after the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from retrain.pruning import groups, surgery
from retrain.pruning.criteria import base


def score(coupled: Sequence[groups.CoupledGroup], evidence: base.Evidence) -> list[torch.Tensor]:
    """Score a block by its place in the order in which blocks go, the first 0.

    The block goes first without which the loss on the scoring rows is lowest, then the one without
    which, that one gone too, it is lowest, and so on: of two blocks that do the same work each is
    idle only while the other stays. So n blocks take n (n + 1) / 2 looks at the loss.
    """
    return [_order(group, evidence) for group in coupled]


def _order(group: groups.CoupledGroup, evidence: base.Evidence) -> torch.Tensor:
    model = copy.deepcopy(evidence.model)
    places = torch.zeros(group.units, dtype=torch.float64)
    left = list(range(group.units))
    for place in range(group.units):
        losses = [_without(model, group.modules[unit], evidence.loss_of) for unit in left]
        weakest = left.pop(losses.index(min(losses)))
        places[weakest] = place
        surgery.leave_out(model, *group.modules[weakest])
    return places


def _without(model: nn.Module, block: groups.Block, loss_of: Callable[[nn.Module], float]) -> float:
    before = model.get_submodule(block.module)
    surgery.leave_out(model, *block)
    try:
        loss = loss_of(model)
    except Exception:  # noqa: BLE001 - the user's forward may need one of several blocks
        return math.inf
    finally:
        model.set_submodule(block.module, before)
    return loss if math.isfinite(loss) else math.inf


CRITERION = base.Criterion(levels=("layer",), score=score)
