"""The connection level: set single weights to zero, and keep them there.

Weights of products are taken: linear layers, convolutions, recurrent layers and attention. Biases
and norms are not: they are few, and each carries a whole channel. Embeddings are taken only where
the recipe's `amounts` names them: a row learns from those rows of data alone that hold its token,
so the small rows are those of rare tokens, and a ranking by size would forget these first.

The zeros lie in the weights, so a version is rebuilt without masks; the record only counts them.
They make a version smaller once it is compressed. No runtime on a processor skips them, so latency
does not move.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import nn

from coppice import errors, project
from retrain import train
from retrain.pruning import criteria, evidence, groups, jobs, layers, neurons, recipe, surgery

_PRODUCTS = (
    nn.Linear,
    nn.Bilinear,
    *layers.CONVOLUTIONS,
    *layers.TRANSPOSED,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
_LOOK_UPS = (nn.Embedding, nn.EmbeddingBag)
_GONE = -1.0
"""Score of what is zero already: below every score of a criterion."""


class Tensors(NamedTuple):
    """The weights that can be set to zero, by name, and why others are left."""

    weights: dict[str, nn.Parameter]
    whole: tuple[surgery.Whole, ...]


def cut(model: nn.Module, job: jobs.Job) -> surgery.Surgery:
    """Set the weights of a model that score lowest to zero, in place.

    What is zero stays zero, and so it does in training with `keeper`. Under scope `global` all
    tensors are ranked together; of no tensor the last weight goes.

    Raises
    ------
    PruningError
        The criterion does not rank weights, the scope is not one of weights, or no tensor of the
        network fits.
    """
    step = job.step
    if step.removes_nothing:
        return surgery.Surgery()
    if step.scope == "criterion":
        message = "scope criterion allots channels; for single weights use scope local or global"
        raise errors.PruningError(message)
    recipe.check_named(step, [name for name, _ in model.named_parameters()])
    found = find(model, step)
    if not found.weights:
        raise errors.PruningError(_none(found.whole))
    scores = _scores(model, job, found.weights)
    unstructured = step.pattern == recipe.UNSTRUCTURED
    gone = _lowest(scores, job) if unstructured else _patterned(scores, job)
    with torch.no_grad():
        for name, lost in gone.items():
            found.weights[name].masked_fill_(lost, 0.0)
    masks = tuple(_mask(name, found.weights[name], _pattern(job)) for name in gone)
    return surgery.Surgery(masks=masks, whole=found.whole)


def find(model: nn.Module, step: recipe.Step) -> Tensors:
    """Find the weights that a step can set to zero; a tensor that is shared counts once.

    Raises
    ------
    PruningError
        The network holds weights that are computed from others, or not there yet.
    """
    neurons.refuse(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, _LOOK_UPS)}
    weights: dict[str, nn.Parameter] = {}
    whole: dict[str, surgery.Whole] = {}
    for module in model.modules():
        for own, parameter in module.named_parameters(recurse=False):
            name = names[id(parameter)]
            if not _multiplies(module, own, parameter) or not step.share(name):
                continue
            reason = None
            if id(parameter) in looked_up and name not in step.amounts:
                reason = "rows of an embedding that are small are rare; name it in amounts"
            reason = reason or _misfit(module, parameter, step.pattern)
            if reason is None:
                weights[name] = parameter
            else:
                whole[name] = surgery.Whole(name, reason)
    return Tensors(weights, tuple(whole[name] for name in whole if name not in weights))


def _multiplies(module: nn.Module, name: str, parameter: torch.Tensor) -> bool:
    kinds = (*_PRODUCTS, *_LOOK_UPS)
    return isinstance(module, kinds) and parameter.ndim > 1 and not name.startswith("bias")


def _misfit(module: nn.Module, parameter: torch.Tensor, pattern: str) -> str | None:
    if pattern == recipe.UNSTRUCTURED:
        return None
    if isinstance(module, layers.TRANSPOSED):
        return f"pattern {pattern} is not known for transposed convolutions"
    length, run = parameter[0].numel(), recipe.run_of(pattern).length
    if length % run:
        return f"its rows of {length} weights are no multiple of {run}, as pattern {pattern} needs"
    return None


def _none(whole: Sequence[surgery.Whole]) -> str:
    why = "; ".join(f"{each.name!r}: {each.reason}" for each in whole)
    return (
        "no weights of this network can be set to zero; "
        f"{why or 'it has no linear layer, convolution, recurrent layer or attention'}"
    )


def _scores(
    model: nn.Module, job: jobs.Job, weights: Mapping[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    weigh = criteria.check(job.step.criterion, job.step.level).weigh
    assert weigh is not None
    gathered = evidence.gather(model, job.split, task=job.task, seed=job.seed)
    scores = weigh(tuple(weights), gathered)
    for name, score in scores.items():
        if not torch.isfinite(score).all():
            message = f"{job.step.criterion} gives {name!r} scores that are not finite"
            raise errors.PruningError(message)
    return {
        name: scores[name].detach().double().masked_fill(weight.detach() == 0, _GONE)
        for name, weight in weights.items()
    }


def _lowest(scores: Mapping[str, torch.Tensor], job: jobs.Job) -> dict[str, torch.Tensor]:
    """Return what goes where any weight may: of each tensor its amount, or of all together."""
    step = job.step
    pooled = [n for n in scores if step.scope == "global" and n not in step.amounts]
    gone = {
        name: _weakest(_kept_last(score), _due(job, {name: score}, step.share(name)))
        for name, score in scores.items()
        if name not in pooled
    }
    if pooled:
        together = torch.cat([_kept_last(scores[name]).flatten() for name in pooled])
        count = _due(job, {name: scores[name] for name in pooled}, step.amount)
        sizes = [scores[name].numel() for name in pooled]
        parts = torch.split(_weakest(together, count), sizes)
        gone |= {
            name: part.reshape(scores[name].shape) for name, part in zip(pooled, parts, strict=True)
        }
    return gone


def _due(job: jobs.Job, scores: Mapping[str, torch.Tensor], share: float) -> int:
    """Return how many weights of some tensors are zero once the due share has gone."""
    size = sum(score.numel() for score in scores.values())
    alive = {name: int((score != _GONE).sum()) for name, score in scores.items()}
    before = sum(job.before.get(name, alive[name]) for name in scores)
    return size - before + math.floor(before * share * job.due + 0.5)


def _kept_last(score: torch.Tensor) -> torch.Tensor:
    """Return scores under which the best weight of a tensor never goes."""
    lifted = score.clone()
    lifted.view(-1)[int(score.argmax())] = math.inf
    return lifted


def _weakest(score: torch.Tensor, count: int) -> torch.Tensor:
    lost = torch.zeros(score.numel(), dtype=torch.bool)
    order = score.flatten().argsort(stable=True)
    finite = int(torch.isfinite(score).sum())
    lost[order[: min(count, finite)]] = True
    return lost.reshape(score.shape)


def _patterned(scores: Mapping[str, torch.Tensor], job: jobs.Job) -> dict[str, torch.Tensor]:
    """Return what goes of every run of neighbours in a row; a filter is a row."""
    kept, run = recipe.run_of(_pattern(job))
    gone = {}
    for name, score in scores.items():
        runs = score.reshape(-1, run)
        weakest = runs.argsort(dim=1, stable=True)[:, : run - kept]
        lost = torch.zeros_like(runs, dtype=torch.bool).scatter_(1, weakest, value=True)
        gone[name] = lost.reshape(score.shape)
    return gone


def _pattern(job: jobs.Job) -> str:
    """Return the pattern that is due by now."""
    if job.step.pattern == recipe.UNSTRUCTURED:
        return job.step.pattern
    kept, run = recipe.run_of(job.step.pattern)
    return f"{run - math.floor((run - kept) * job.due + 0.5)}:{run}"


def _mask(name: str, weight: torch.Tensor, pattern: str) -> surgery.Masked:
    return surgery.Masked(name, int(weight.count_nonzero()), weight.numel(), pattern)


def alive(model: nn.Module) -> dict[str, int]:
    """Count the weights of every tensor that are not zero."""
    return {name: int(each.count_nonzero()) for name, each in model.named_parameters()}


def counted(model: nn.Module, record: surgery.Surgery) -> surgery.Surgery:
    """Return a record whose masks say what the weights hold now, after later cuts of channels.

    A pattern that such a cut has broken is none any more.
    """
    weights = dict(model.named_parameters())
    masks = (
        _mask(mask.tensor, weights[mask.tensor], _checked(weights[mask.tensor], mask.pattern))
        for mask in record.masks
    )
    return msgspec.structs.replace(record, masks=tuple(masks))


def _checked(weight: torch.Tensor, pattern: str) -> str:
    if pattern == recipe.UNSTRUCTURED:
        return pattern
    kept, run = recipe.run_of(pattern)
    if weight[0].numel() % run:
        return recipe.UNSTRUCTURED
    fullest = int(weight.detach().reshape(-1, run).count_nonzero(dim=1).max())
    return pattern if fullest <= kept else recipe.UNSTRUCTURED


def keeper(model: nn.Module, steps: Sequence[recipe.Step]) -> train.AfterStep | None:
    """Return what keeps zeros zero after every step of a training, in tensors that steps prune.

    `None` where nothing of them is zero. Weights of a trained network are not zero by chance.
    """
    zeros: dict[str, torch.Tensor] = {}
    for step in steps:
        if step.level == "connection":
            # Whatever became of a pattern when channels were cut later.
            for name, weight in find(model, _unstructured(step)).weights.items():
                zeros[name] = weight.detach() == 0
    zeros = {name: zero for name, zero in zeros.items() if zero.any()}
    if not zeros:
        return None

    def keep(trained: nn.Module) -> None:
        with torch.no_grad():
            for name, zero in zeros.items():
                trained.get_parameter(name).masked_fill_(zero, 0.0)

    return keep


def _unstructured(step: recipe.Step) -> recipe.Step:
    return dataclasses.replace(step, pattern=recipe.UNSTRUCTURED)


def couple(model: nn.Module, split: project.Split) -> tuple[groups.CoupledGroup, ...]:
    """Return the rows of every tensor as the units of a group, for penalties."""
    del split
    return tuple(
        groups.CoupledGroup(name, len(weight), (groups.Axis(name, 0, tuple(range(len(weight)))),))
        for name, weight in find(model, recipe.Step(level="connection")).weights.items()
    )
