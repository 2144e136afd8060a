"""Who pays for the pruning: the drop on each slice, declared ones and classes alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coppice import project
from retrain.evaluate import paired

Mask = npt.NDArray[np.bool_]


def masks(split: project.Split, classes: tuple[str, ...]) -> dict[str, Mask]:
    """Name every slice of a split: `family=value` for declared ones, `class=name` for classes.

    Rows without a value in a family (the empty string) are in none of its slices. A family that
    the project itself calls `class` takes the place of ours.

    >>> split = project.Split(inputs={}, targets=np.array([0, 1]), slices={"pen": np.array(["a",
    ...     ""])})
    >>> {name: mask.tolist() for name, mask in masks(split, ("no", "yes")).items()}
    {'pen=a': [True, False], 'class=no': [True, False], 'class=yes': [False, True]}
    """
    named = {
        f"{family}={value}": values == value
        for family, values in split.slices.items()
        for value in np.unique(values)
        if value != ""
    }
    if "class" in split.slices:
        return named
    return named | {f"class={name}": split.targets == index for index, name in enumerate(classes)}


def compare(
    pairs: paired.Pairs, named: dict[str, Mask], *, confidence: float, min_rows: int, seed: int = 0
) -> dict[str, paired.Comparison]:
    """Compare on every slice that has rows.

    The slices of at least `min_rows` share the chance of a false alarm equally (Bonferroni), so
    that watching many slices does not refuse by accident.
    """
    filled = {name: mask for name, mask in named.items() if mask.any()}
    judged = sum(int(mask.sum()) >= min_rows for mask in filled.values())
    level = 1.0 - (1.0 - confidence) / max(judged, 1)
    return {
        name: paired.compare(pairs.take(mask), confidence=level, seed=seed)
        for name, mask in filled.items()
    }
