"""What can be said about a row in one plain clause, so that a harmed subset can be named.

A condition is a mask with words: a declared slice, a class, what an uninvolved model answers, a
range of a column, or, where an input is no table, of a simple statistic of it. Ranges are cut at
the quartiles of the rows themselves. Conditions look at inputs, slices, classes and the answers of
a model that takes no part in the comparison, never at who was right; so choosing among them by
outcome on one half of the rows leaves the other half fair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from coppice import project
from coppice.labels import Floats

MOST_COLUMNS = 32
"""Columns of one input that are looked at; of wider inputs only statistics are."""
MOST_VALUES = 8
"""A column with at most so many different values is compared for equality, not by range."""
_PIECE = 256
_STATISTICS: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda rows: rows.mean(axis=1),
    "contrast": lambda rows: rows.std(axis=1),
    "largest value": lambda rows: rows.max(axis=1),
    "smallest value": lambda rows: rows.min(axis=1),
    "share of zeros": lambda rows: np.asarray((rows == 0).mean(axis=1)),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """One clause.

    Attributes
    ----------
    family
        What it is about; two clauses of one family are never joined.
    words
        The clause, such as `class is 8`.
    mask
        The rows that it holds for, bool [rows].
    """

    family: str
    words: str
    mask: npt.NDArray[np.bool_]


def conditions(
    split: project.Split, classes: tuple[str, ...], *, witness: tuple[str, Floats] | None = None
) -> tuple[Condition, ...]:
    """Return every condition that holds for some rows but not for all.

    Parameters
    ----------
    witness
        Name and answers [rows, classes] of a model that is not compared. The answers of those that
        are would not do: among the rows that one of them gives a class, it is the one that errs.
    """
    every = [
        *_declared(split.slices),
        *_classes(split.targets, classes),
        *(_answered(witness[0], witness[1], classes) if witness and classes else ()),
        *(each for name, array in split.inputs.items() for each in _of_input(name, array)),
    ]
    return tuple(each for each in every if 0 < each.mask.sum() < len(each.mask))


def _declared(slices: Mapping[str, project.Array]) -> Iterator[Condition]:
    for family, values in slices.items():
        for value in np.unique(values):
            if value != "":
                yield Condition(family=family, words=f"{family} is {value}", mask=values == value)


def _classes(targets: project.Array, classes: tuple[str, ...]) -> Iterator[Condition]:
    for index, name in enumerate(classes):
        yield Condition(family="class", words=f"class is {name}", mask=targets == index)


def _answered(witness: str, answers: Floats, classes: tuple[str, ...]) -> Iterator[Condition]:
    named = answers.argmax(axis=1)
    for index, name in enumerate(classes):
        words = f"the {witness} answers {name}"
        # Of the family of classes: "class is 8 and the null control answers 8" helps nobody.
        yield Condition(family="class", words=words, mask=named == index)


def _of_input(name: str, array: project.Array) -> Iterator[Condition]:
    if array.dtype.kind not in "fiub":
        return
    rows = array.reshape(len(array), -1)
    width = rows.shape[1]
    if array.ndim <= 2 and width <= MOST_COLUMNS:
        for column in range(width):
            values = rows[:, column].astype(np.float64)
            yield from _ranges(name if width == 1 else f"{name}[{column}]", values)
        return
    for statistic, function in _STATISTICS.items():
        # In pieces, because all images in double precision may not fit into memory.
        pieces = [
            function(rows[at : at + _PIECE].astype(np.float64))
            for at in range(0, len(rows), _PIECE)
        ]
        yield from _ranges(f"{statistic} of {name}", np.concatenate(pieces))


def _ranges(name: str, values: Floats) -> Iterator[Condition]:
    known = np.unique(values)
    if len(known) <= MOST_VALUES:
        for value in known:
            yield Condition(family=name, words=f"{name} is {value:.4g}", mask=values == value)
        return
    quarter, half, rest = np.quantile(values, [0.25, 0.5, 0.75])
    for bound in (quarter, half):
        yield Condition(family=name, words=f"{name} up to {bound:.4g}", mask=values <= bound)
    for bound in (half, rest):
        yield Condition(family=name, words=f"{name} above {bound:.4g}", mask=values > bound)
