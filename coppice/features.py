"""Monitoring features: what of a request and its answer is watched for drift.

At most 32 columns per row, in this order of preference; what would be column 33 is left out:

1. The answer: `score.<class>` for each class. With more than 16 classes the first 15, then
   `confidence`, the largest score. For a regression `score`.
2. The model's own view: `embedding.pca0` ... `embedding.pca7`, the principal components of the
   penultimate layer, where the graph has the output `embedding`.
3. The inputs, in the manifest's order. An input whose row is one number, or a vector of at most 12,
   is watched column by column: `input.<name>` or `input.<name>[i]`. Of any other the row's
   `.mean`, `.std`, `.min`, `.max` and `.zero_share` are watched, over at most 4,096 evenly spaced
   values. Text is not watched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import artifact, errors, numbers

Array: TypeAlias = npt.NDArray[np.generic]
Floats: TypeAlias = npt.NDArray[np.float32]

MAX_FEATURES = 32
MAX_CLASSES = 16
MAX_COMPONENTS = 8
MAX_COLUMNS = 12
MAX_VALUES = 4096
STATISTICS = ("mean", "std", "min", "max", "zero_share")


class Basis(NamedTuple):
    """The principal components that an embedding is projected on.

    `mean` is [d] and `components` [k, d] with k at most 8; both float32.
    """

    mean: Floats
    components: Floats

    def project(self, embedding: Array) -> Floats:
        """Return the coordinates [rows, k] of an embedding [rows, d]."""
        centred = np.asarray(embedding, dtype=np.float32) - self.mean
        return np.asarray(centred @ self.components.T, dtype=np.float32)


def read_basis(tensors: Mapping[str, Array]) -> Basis | None:
    """Take the principal components out of `monitoring.safetensors`; `None` where it has none.

    Raises
    ------
    ArtifactError
        Mean and components do not fit each other.
    """
    if "pca.components" not in tensors:
        return None
    components = np.asarray(tensors["pca.components"], dtype=np.float32)
    mean = np.asarray(tensors.get("pca.mean", ()), dtype=np.float32)
    if components.ndim != 2 or mean.shape != components.shape[1:]:
        message = f"pca.mean {mean.shape} does not fit pca.components {components.shape}"
        raise errors.ArtifactError(message)
    return Basis(mean=mean, components=components[:MAX_COMPONENTS])


def feature_names(
    inputs: tuple[artifact.TensorSpec, ...], classes: tuple[str, ...], components: int
) -> tuple[str, ...]:
    """Name the columns of the monitoring features; the module's docstring explains them.

    Parameters
    ----------
    inputs
        The manifest's inputs.
    classes
        Class names in the order of the scores; empty for regression.
    components
        How many principal components the version's basis has; 0 without an embedding.

    Examples
    --------
    >>> feature_names((artifact.TensorSpec("age", "float32", ()),), ("no", "yes"), 1)
    ('score.no', 'score.yes', 'embedding.pca0', 'input.age')
    """
    names = [f"score.{name}" for name in classes] or ["score"]
    if len(classes) > MAX_CLASSES:
        names = [*names[: MAX_CLASSES - 1], "confidence"]
    names += [f"embedding.pca{index}" for index in range(min(components, MAX_COMPONENTS))]
    for spec in inputs:
        names += _input_names(spec)
    return tuple(names[:MAX_FEATURES])


def _input_names(spec: artifact.TensorSpec) -> list[str]:
    name, size = f"input.{spec.name}", math.prod(spec.shape)
    if not numbers.is_number(np.dtype(spec.dtype)) or size == 0:
        return []
    if spec.shape == ():
        return [name]
    if _is_tabular(spec):
        return [f"{name}[{index}]" for index in range(size)]
    return [f"{name}.{statistic}" for statistic in STATISTICS]


def _is_tabular(spec: artifact.TensorSpec) -> bool:
    return len(spec.shape) < 2 and math.prod(spec.shape) <= MAX_COLUMNS


def monitoring_features(
    specs: tuple[artifact.TensorSpec, ...],
    inputs: Mapping[str, Array],
    scores: Floats,
    *,
    embedding: Array | None = None,
    basis: Basis | None = None,
) -> Floats:
    """Compute the monitoring features of a batch, in the columns of `feature_names`.

    Parameters
    ----------
    specs
        The manifest's inputs.
    inputs
        The batch, by name, rows first.
    scores
        Class probabilities [rows, classes], or regression values [rows].
    embedding
        Output of the penultimate layer [rows, d], where there is one.
    basis
        What the embedding is projected on; without one it is not watched.

    Returns
    -------
    Floats
        Finite float32 [rows, F]; a value too large for float32 is cut off at its limit.

    Examples
    --------
    >>> monitoring_features(
    ...     (artifact.TensorSpec("image", "float32", (2, 2)),),
    ...     {"image": np.array([[[0.0, 1.0], [0.0, 3.0]]], dtype=np.float32)},
    ...     np.array([[0.25, 0.75]], dtype=np.float32),
    ... ).round(2)
    array([[0.25, 0.75, 1.  , 1.22, 0.  , 3.  , 0.5 ]], dtype=float32)
    """
    blocks = [_score_columns(scores)]
    # Numbers near the limits of float64 may overflow in a sum; they end as the largest float32.
    with np.errstate(over="ignore", invalid="ignore"):
        if embedding is not None and basis is not None:
            blocks.append(basis.project(embedding))
        width = sum(block.shape[1] for block in blocks)
        for spec in specs:
            if width < MAX_FEATURES and (columns := _input_columns(spec, inputs[spec.name])).size:
                blocks.append(columns)
                width += columns.shape[1]
        features = np.concatenate(blocks, axis=1)[:, :MAX_FEATURES]
    return features if np.isfinite(features).all() else np.nan_to_num(features)


def _score_columns(scores: Floats) -> Floats:
    if scores.ndim == 1:
        return scores[:, np.newaxis]
    if scores.shape[1] <= MAX_CLASSES:
        return scores
    confidence = scores.max(axis=1, keepdims=True)
    return np.concatenate([scores[:, : MAX_CLASSES - 1], confidence], axis=1)


def _input_columns(spec: artifact.TensorSpec, array: Array) -> Floats:
    if not numbers.is_number(array.dtype) or array.size == 0:
        return np.empty((len(array), 0), dtype=np.float32)
    flat = array.reshape(len(array), -1)
    if _is_tabular(spec):
        return flat.astype(np.float32)
    # Images are large; thousands of evenly spaced values tell their statistics well enough.
    stride = -(-flat.shape[1] // MAX_VALUES)
    return _statistics(flat[:, ::stride].astype(np.float64))


def _statistics(values: npt.NDArray[np.float64]) -> Floats:
    """Return the columns of `STATISTICS` [rows, 5] of float64 values [rows, n]."""
    columns = np.empty((len(values), len(STATISTICS)), dtype=np.float32)
    size = values.shape[1]
    mean = np.add.reduce(values, axis=1) / size
    columns[:, 0] = mean
    columns[:, 1] = np.sqrt(np.add.reduce(np.square(values - mean[:, np.newaxis]), axis=1) / size)
    columns[:, 2] = np.minimum.reduce(values, axis=1)
    columns[:, 3] = np.maximum.reduce(values, axis=1)
    columns[:, 4] = np.add.reduce(values == 0.0, axis=1) / size
    return columns
