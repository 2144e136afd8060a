"""Attribution: whether the pruned model is simpler, and still right for the same reasons.

For each row the class that the dense parent names is explained in every model: how its logit hangs
on each input value. The candidate's explanation is compared with the parent's, and so is the null
control's, because two trainings of one network never explain alike: only what the candidate agrees
less than the null control does is due to the pruning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import complexity, evaluation, probing, saliency, section

NAME, TITLE = "attribution", "Interpretability"
MOST_ROWS = 300
"""Holdout rows at most."""
RANK_ROWS = 512
"""Holdout rows whose embedding is looked at."""
MOST_EXEMPLARS = 6
"""Explanations shown, where they disagree most."""
METHODS = ("integrated gradients", "input gradient")

Maps: TypeAlias = Mapping[evaluation.Column, Floats]
"""Attributions [rows, values] by column."""


class Agreement(NamedTuple):
    """How two models' explanations agree, on each row."""

    ranks: Floats
    overlap: Floats


Agreements: TypeAlias = Mapping[evaluation.Column, Agreement]
"""By column, all but the parent."""


class Estimate(NamedTuple):
    """A mean with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float


def measure(subject: section.Subject) -> section.Section:
    """Count what the models are made of, and compare their explanations with the parent's."""
    holdout = subject.data.holdout
    baseline = _baseline(subject.training)
    with probing.held(subject) as models:
        few = probing.sample(holdout, RANK_ROWS, seed=subject.rules.seed)
        counted: dict[evaluation.Column, complexity.Complexity] = {
            column: complexity.measure(model, few) for column, model in models.items()
        }
        # Each step and the plain gradient once, with gradients, for every model.
        passes = len(models) * (saliency.STEPS + 1) * probing.BACKWARD
        split = probing.affordable(subject, holdout, passes=passes, most=MOST_ROWS)
        explained = _explain(models, split, baseline, subject.rules) if baseline else {}
    return _section(subject, counted, explained, split)


def _baseline(split: project.Split) -> dict[str, torch.Tensor]:
    """Return the mean training row of each input that can be moved."""
    return {
        name: torch.from_numpy(np.asarray(array.mean(axis=0, dtype=np.float64), array.dtype))
        for name, array in split.inputs.items()
        if array.dtype.kind == "f"
    }


def _explain(
    models: Mapping[evaluation.Column, nn.Module],
    split: project.Split,
    baseline: Mapping[str, torch.Tensor],
    rules: evaluation.Rules,
) -> dict[str, Maps]:
    asked = saliency.question(models["parent"], split, rules.task)
    whole: Maps = {
        column: saliency.integrated_gradients(model, asked, baseline)
        for column, model in models.items()
    }
    plain: Maps = {
        column: saliency.input_gradients(model, asked) for column, model in models.items()
    }
    return dict(zip(METHODS, (whole, plain), strict=True))


def _agreements(maps: Maps) -> Agreements:
    others: list[evaluation.Column] = [column for column in maps if column != "parent"]
    return {
        column: Agreement(
            saliency.rank_correlation(maps["parent"], maps[column]),
            saliency.top_overlap(maps["parent"], maps[column]),
        )
        for column in others
    }


def bootstrap(values: Floats, *, confidence: float, draws: int, seed: int) -> Estimate:
    """Return the mean of rows with its percentile bootstrap interval."""
    rows = len(values)
    random = np.random.default_rng(seed)
    means = [values[random.integers(rows, size=rows)].mean() for _ in range(draws)]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Estimate(float(values.mean()), float(low), float(high))


def _section(
    subject: section.Subject,
    counted: Mapping[evaluation.Column, complexity.Complexity],
    explained: Mapping[str, Maps],
    split: project.Split,
) -> section.Section:
    figures = _counts(counted)
    size = figures["parameter_ratio"].value
    simpler = f"The candidate has {100 * size:.0f}% of its parent's parameters"
    if not explained:
        return section.Section(
            name=NAME,
            title=TITLE,
            status="measured",
            sentence=f"{simpler}. Explanations were not compared: no input can be moved a little.",
            figures=figures,
            tables=(_complexity_table(counted),),
        )
    agreed = {method: _agreements(maps) for method, maps in explained.items()}
    figures |= _agreed_figures(agreed[METHODS[0]], subject)
    return section.Section(
        name=NAME,
        title=TITLE,
        status="measured",
        sentence=f"{simpler}; {_sentence(figures)}",
        figures=figures | {"rows": section.Figure(value=float(split.rows))},
        tables=(_complexity_table(counted), _agreement_table(agreed)),
        charts=(_chart(agreed[METHODS[0]]),),
        exemplars=tuple(_exemplars(subject, explained[METHODS[0]], agreed[METHODS[0]], split)),
    )


def _counts(
    counted: Mapping[evaluation.Column, complexity.Complexity],
) -> dict[str, section.Figure]:
    parent, candidate = counted["parent"], counted["candidate"]
    ratios = {
        "parameter_ratio": (candidate.parameters, parent.parameters),
        "mac_ratio": (candidate.macs, parent.macs),
        "effective_rank_ratio": (candidate.effective_rank, parent.effective_rank),
    }
    return {
        name: section.Figure(value=after / before, unit="times")
        for name, (after, before) in ratios.items()
        if before
    }


def _agreed_figures(agreed: Agreements, subject: section.Subject) -> dict[str, section.Figure]:
    def figure(values: Floats, better: Literal["higher", "lower"]) -> section.Figure:
        found = bootstrap(
            values,
            confidence=subject.rules.confidence,
            draws=subject.own.settings.inspect.draws,
            seed=subject.rules.seed,
        )
        return section.Figure(value=found.value, low=found.low, high=found.high, better=better)

    candidate = agreed["candidate"]
    figures = {
        "agreement": figure(candidate.ranks, "higher"),
        "top_overlap": figure(candidate.overlap, "higher"),
    }
    if "null" in agreed:
        figures["agreement_null"] = figure(agreed["null"].ranks, "higher")
        figures["agreement_shortfall"] = figure(agreed["null"].ranks - candidate.ranks, "lower")
    return figures


def _sentence(figures: Mapping[str, section.Figure]) -> str:
    mean = figures["agreement"].value
    if "agreement_null" not in figures:
        return f"its explanations agree with the parent's at rank correlation {mean:.2f}."
    floor, gap = figures["agreement_null"].value, figures["agreement_shortfall"]
    beside = f"rank correlation {mean:.2f} (further training alone gives {floor:.2f})"
    if gap.low is not None and gap.low > 0:
        return f"it reads its inputs otherwise than its parent: {beside}."
    return f"it reads its inputs as its parent does, within the noise of training: {beside}."


def _complexity_table(
    counted: Mapping[evaluation.Column, complexity.Complexity],
) -> section.Table:
    words = {
        "parameters": "parameters",
        "macs": "multiply-accumulates per row",
        "weighted_layers": "weighted layers",
        "width": "width of the embedding",
        "effective_rank": "effective rank of the embedding",
    }
    return section.Table(
        title="What the models are made of",
        columns=("", *(probing.COLUMNS[column] for column in counted)),
        rows=tuple(
            (word, *(getattr(found, field) for found in counted.values()))
            for field, word in words.items()
        ),
    )


def _agreement_table(
    agreed: Mapping[str, Agreements],
) -> section.Table:
    return section.Table(
        title="Agreement with the dense parent's explanations, mean over rows",
        columns=("method", "model", "rank correlation", "worst tenth", "top values in common"),
        rows=tuple(
            (
                method,
                probing.COLUMNS[column],
                float(found.ranks.mean()),
                float(np.quantile(found.ranks, 0.1)),
                float(found.overlap.mean()),
            )
            for method, columns in agreed.items()
            for column, found in columns.items()
        ),
    )


def _chart(agreed: Agreements) -> section.Chart:
    shares = np.linspace(0.0, 1.0, 21)
    return section.Chart(
        title="Agreement with the parent's explanations, rows in order",
        kind="lines",
        x="share of rows that agree less",
        y="rank correlation",
        series={
            probing.COLUMNS[column]: tuple(
                (float(share), float(np.quantile(found.ranks, share))) for share in shares
            )
            for column, found in agreed.items()
        },
    )


def _exemplars(
    subject: section.Subject,
    maps: Maps,
    agreed: Agreements,
    split: project.Split,
) -> list[section.Exemplar]:
    """Show the rows where candidate and parent explain the most differently."""
    ranks = agreed["candidate"].ranks
    shown = min(MOST_EXEMPLARS, subject.own.settings.inspect.exemplars)
    rows: Sequence[int] = np.argsort(ranks, kind="stable")[:shown].tolist()
    return [
        section.Exemplar(
            caption=f"holdout row of target {_target(subject, split, row)}: input, parent's and "
            f"candidate's explanation, rank correlation {ranks[row]:.2f}",
            pixels=_picture(split, maps, row),
            values={} if _picture(split, maps, row) else _values(split, maps, row),
        )
        for row in rows
    ]


def _target(subject: section.Subject, split: project.Split, row: int) -> str:
    value, classes = split.targets[row], subject.rules.classes
    return classes[int(value)] if classes else f"{float(value):g}"


def _picture(split: project.Split, maps: Maps, row: int) -> tuple[tuple[float, ...], ...]:
    """Put input and both explanations side by side; nothing where the only input is no picture."""
    (array, *others) = split.inputs.values()
    if others or array.ndim != 4:
        return ()
    shape = array.shape[1:]
    panels = [array[row].astype(np.float64).mean(axis=0)]
    panels += [np.abs(maps[column][row]).reshape(shape).sum(axis=0) for column in _SHOWN]
    stretched = [np.array(probing.grey(panel)) for panel in panels]
    gap = np.ones((len(stretched[0]), 1))
    joined = np.hstack([stretched[0], gap, stretched[1], gap, stretched[2]])
    return tuple(tuple(float(value) for value in line) for line in joined)


_SHOWN: tuple[evaluation.Column, ...] = ("parent", "candidate")


def _values(split: project.Split, maps: Maps, row: int) -> dict[str, section.Cell]:
    """Name the values on which the parent's answer hangs most, with both models' attributions."""
    names = [
        name if array[row].ndim == 0 else f"{name}[{place}]"
        for name, array in sorted(split.inputs.items())
        if array.dtype.kind == "f"
        for place in range(array[row].size)
    ]
    order = np.argsort(-np.abs(maps["parent"][row]), kind="stable")
    return {
        f"{names[at]}, {probing.COLUMNS[column]}": round(float(maps[column][row][at]), 4)
        for at in order[: saliency.top_count(len(names))]
        for column in _SHOWN
    }
