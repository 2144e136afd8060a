"""The least kind noise: small changes of the inputs that raise a model's own loss.

Both attacks know the model (white box), stay within a stated distance of each value, and within
what training has seen. They say how a model does against these attacks at this budget; a model that
withstands them may still fall to others, so figures are for comparing two models, not a warranty.

References
----------
Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015 (FGSM).
Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018 (PGD).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import nn

from coppice import labels
from retrain import network
from retrain.evaluate import domain, probing

STRIDE = 2.5
"""Steps of the descent together reach so many times the budget, as Madry et al. chose it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows under attack, with their truth.

    Attributes
    ----------
    tensors
        All inputs, rows first.
    targets
        Class indices or values [rows].
    task
        Decides the loss.
    """

    tensors: network.Tensors
    targets: torch.Tensor
    task: labels.Task

    def moved(self, changed: network.Tensors) -> Rows:
        """Return the same rows with some inputs replaced."""
        return dataclasses.replace(self, tensors={**self.tensors, **changed})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """In how many steps, and from which random start, to climb."""

    steps: int
    seed: int


def fgsm(model: nn.Module, rows: Rows, land: domain.Domain) -> Rows:
    """Move every value by its whole unit in the direction in which the loss rises.

    Parameters
    ----------
    land
        Its units are the budget; see `domain.stretched`.
    """
    return _stepped(model, rows, land, _boxes(rows, land), 1.0)


def pgd(
    model: nn.Module, rows: Rows, land: domain.Domain, plan: Descent, known: Rows | None = None
) -> Rows:
    """Climb in small steps from a random start, and keep of each row what harms most.

    The single step of `fgsm` is among what is kept from, and so is `known`, so that this attack is
    never weaker than either.

    Parameters
    ----------
    land
        Its units are the budget; see `domain.stretched`.
    known
        The same rows as a smaller budget has moved them.
    """
    boxes = _boxes(rows, land)
    worst = _Worst(model, rows)
    worst.offer(_stepped(model, rows, land, boxes, 1.0))
    if known is not None:
        worst.offer(known)
    random = torch.Generator().manual_seed(plan.seed)
    here = rows.moved({name: _scattered(boxes[name], random) for name in sorted(land)})
    for _ in range(plan.steps):
        here = _stepped(model, here, land, boxes, STRIDE / plan.steps)
        worst.offer(here)
    return worst.rows


_Boxes: TypeAlias = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def _boxes(rows: Rows, land: domain.Domain) -> _Boxes:
    return {name: domain.box(land[name], rows.tensors[name]) for name in land}


def _stepped(
    model: nn.Module, rows: Rows, land: domain.Domain, boxes: _Boxes, share: float
) -> Rows:
    uphill = _uphill(model, rows, land)
    return rows.moved(
        {
            name: _clamped(
                rows.tensors[name] + share * where.unit * uphill[name].sign(), boxes[name]
            )
            for name, where in land.items()
        }
    )


class _Worst:
    """The most harmful rows so far: a wrong answer before a right one, then the higher loss."""

    def __init__(self, model: nn.Module, rows: Rows) -> None:
        self._model = model
        self.rows = rows
        self._wrong, self._loss = self._judge(rows)

    def offer(self, other: Rows) -> None:
        wrong, loss = self._judge(other)
        better = (wrong > self._wrong) | ((wrong == self._wrong) & (loss > self._loss))
        self._wrong = torch.where(better, wrong, self._wrong)
        self._loss = torch.where(better, loss, self._loss)
        mixed = {
            name: torch.where(_beside(better, tensor), other.tensors[name], tensor)
            for name, tensor in self.rows.tensors.items()
        }
        self.rows = self.rows.moved(mixed)

    def _judge(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            answers = network.shaped(network.call(self._model, rows.tensors), rows.task)
        loss = probing.losses(answers, rows.targets, rows.task)
        if rows.task == "regression":
            return torch.zeros_like(loss, dtype=torch.bool), loss
        return answers.argmax(dim=1) != rows.targets, loss


def _uphill(model: nn.Module, rows: Rows, land: domain.Domain) -> dict[str, torch.Tensor]:
    """Return the gradient of the summed loss by input; no parameter gets one."""
    leaves = {name: rows.tensors[name].detach().clone().requires_grad_() for name in land}
    with torch.enable_grad():
        # A model may work in place, which torch forbids on a leaf but not on its copy.
        given = {**rows.tensors, **{name: leaf.clone() for name, leaf in leaves.items()}}
        answers = network.shaped(network.call(model, given), rows.task)
        total = probing.losses(answers, rows.targets, rows.task).sum()
        found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _scattered(limits: tuple[torch.Tensor, torch.Tensor], random: torch.Generator) -> torch.Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(low.shape, generator=random, dtype=low.dtype)


def _clamped(values: torch.Tensor, limits: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return torch.minimum(torch.maximum(values, limits[0]), limits[1])


def _beside(mask: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return mask.reshape(-1, *(1 for _ in tensor.shape[1:]))
