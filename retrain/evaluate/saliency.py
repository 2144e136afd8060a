"""Which input values an answer hangs on, and whether two models hang on the same ones.

References
----------
Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2014 (input gradients).
Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017 (integrated gradients).
Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018 (comparing maps by rank correlation).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from coppice import labels, project
from coppice.labels import Floats
from retrain import network, train
from retrain.evaluate import probing

STEPS = 16
"""Points on the way from the baseline; with so many the shares sum up to the answer's change within
some percent on small networks."""
TOP_SHARE = 0.1
"""Share of the values that counts as the top."""
LEAST_TOP = 3
"""Values that count as the top where there are few."""

_Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is to be explained: of each row one number that a model answers.

    Attributes
    ----------
    tensors
        All inputs, rows first.
    named
        The class whose logit is explained [rows]; for a regression nothing looks at it.
    task
        What the model answers.
    """

    tensors: network.Tensors
    named: torch.Tensor
    task: labels.Task

    def take(self, start: int, end: int) -> Question:
        """Return some of the rows."""
        return dataclasses.replace(
            self,
            tensors={name: tensor[start:end] for name, tensor in self.tensors.items()},
            named=self.named[start:end],
        )


def question(model: nn.Module, split: project.Split, task: labels.Task) -> Question:
    """Ask why a model answers what it answers: about the class that it names itself."""
    answers = train.logits(model, split.inputs, task=task)
    named = np.zeros(split.rows, dtype=np.int64) if task == "regression" else answers.argmax(axis=1)
    tensors = network.to_tensors(split.inputs)
    return Question(tensors=tensors, named=torch.from_numpy(named), task=task)


def answer(model: nn.Module, asked: Question) -> torch.Tensor:
    """Return the number that is explained, [rows]: the logit of the named class, or the value."""
    answers = network.shaped(network.call(model, asked.tensors), asked.task)
    if asked.task == "regression":
        return answers
    return answers.gather(1, asked.named[:, None])[:, 0]


def input_gradients(model: nn.Module, asked: Question) -> Floats:
    """Return how the answer moves with each value, at the row itself; float64 [rows, values]."""
    return _flat(_batched(model, asked, _gradients))


def integrated_gradients(
    model: nn.Module, asked: Question, baseline: Mapping[str, torch.Tensor]
) -> Floats:
    """Return each value's share in the answer's change from a baseline; float64 [rows, values].

    Parameters
    ----------
    baseline
        A row of each input that can be moved; the others stay what they are.
    """

    def along(model: nn.Module, rows: Question) -> _Tensors:
        here = {name: rows.tensors[name] for name in baseline}
        sums = {name: torch.zeros_like(tensor) for name, tensor in here.items()}
        for step in range(STEPS):
            share = (step + 0.5) / STEPS
            between = {
                name: torch.lerp(baseline[name].expand_as(tensor), tensor, share)
                for name, tensor in here.items()
            }
            given = dataclasses.replace(rows, tensors={**rows.tensors, **between})
            for name, gradient in _gradients(model, given).items():
                sums[name] += gradient / STEPS
        return {name: sums[name] * (here[name] - baseline[name]) for name in here}

    return _flat(_batched(model, asked, along))


def _gradients(model: nn.Module, asked: Question) -> _Tensors:
    leaves = {
        name: asked.tensors[name].detach().clone().requires_grad_()
        for name in probing.movable(asked.tensors)
    }
    with torch.enable_grad():
        # A model may work in place, which torch forbids on a leaf but not on its copy.
        given = {**asked.tensors, **{name: leaf.clone() for name, leaf in leaves.items()}}
        total = answer(model, dataclasses.replace(asked, tensors=given)).sum()
        found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _batched(model: nn.Module, asked: Question, explain: Any) -> list[_Tensors]:
    step = probing.GRADIENT_ROWS
    starts = range(0, len(asked.named), step)
    return [explain(model, asked.take(start, start + step)) for start in starts]


def _flat(parts: list[_Tensors]) -> Floats:
    rows = [
        torch.cat([part[name].flatten(1) for name in sorted(part)], dim=1).double()
        for part in parts
    ]
    return torch.cat(rows).numpy()


def rank_correlation(first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of two attributions, row by row.

    A flat attribution has no order: it agrees fully with itself and not at all with another.

    >>> rank_correlation(np.array([[1.0, 2, 3]]), np.array([[10.0, 30, 20]])).tolist()
    [0.5]
    """
    ranks = [stats.rankdata(part, axis=1) for part in (first, second)]
    ranks = [part - part.mean(axis=1, keepdims=True) for part in ranks]
    sizes = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    found = (ranks[0] * ranks[1]).sum(axis=1) / np.where(sizes > 0, sizes, 1.0)
    same = (first == second).all(axis=1)
    return np.asarray(np.where(same, 1.0, found))


def top_overlap(first: Floats, second: Floats) -> Floats:
    """Return which share of the values with the largest attributions two models have in common.

    >>> top_overlap(np.array([[9.0, -8, 7, 0, 0]]), np.array([[9.0, 8, 0, 7, 0]])).round(3).tolist()
    [0.667]
    """
    count = top_count(first.shape[1])
    tops = [_top(part, count) for part in (first, second)]
    return np.asarray((tops[0] & tops[1]).sum(axis=1) / count)


def top_count(values: int) -> int:
    """Say how many values count as the top."""
    return min(values, max(LEAST_TOP, math.ceil(TOP_SHARE * values)))


def _top(attribution: Floats, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    order = np.argsort(-np.abs(attribution), axis=1, kind="stable")[:, :count]
    chosen = np.zeros(attribution.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order, values=True, axis=1)
    return chosen
