"""What judging a version needs beside it: its own view of clean rows, and its calibrator.

Everything is computed from the packed graph through the kernel's code, so the reference holds
exactly what the server would have recorded for the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import optimize

from coppice import artifact, features, labels, project, runtime
from retrain import train

BASIS_ROWS = 2048
"""Training rows that the principal components are computed from."""
REFERENCE_ROWS = 5000
"""Most rows of the reference; more would make the artifact large and drift no better."""

MOST_SLICES = 64
"""A kind of slices with more values is left out of the reference whole."""

Floats = npt.NDArray[np.float32]


def input_specs(split: project.Split) -> tuple[artifact.TensorSpec, ...]:
    """Describe a split's inputs as the server will check them.

    >>> rows = project.Split(inputs={"x": np.zeros((5, 2), "float32")}, targets=np.zeros(5, int))
    >>> input_specs(rows)
    (TensorSpec(name='x', dtype='float32', shape=(2,)),)
    """
    return tuple(
        artifact.TensorSpec(name, array.dtype.name, array.shape[1:])
        for name, array in split.inputs.items()
    )


def monitoring(
    session: runtime.Graph, data: project.Data, *, task: labels.Task
) -> dict[str, project.Array]:
    """Return `pca.mean`, `pca.components` and `calibration.temperature`, where they apply.

    The components come from training rows, the temperature from validation rows.
    """
    tensors: dict[str, project.Array] = {}
    if runtime.EMBEDDING in session.outputs:
        train_rows = spread(data.train, BASIS_ROWS)
        basis = principal_components(_run(session, train_rows, runtime.EMBEDDING))
        if len(basis.components):
            tensors |= {"pca.mean": basis.mean, "pca.components": basis.components}
    if task != "regression":
        rows = data.validation
        # Logits but for a constant in each row, which a softmax takes out again.
        scores = np.maximum(_run(session, rows, runtime.SCORES), np.finfo(np.float32).tiny)
        temperature = calibrate(np.log(scores), rows.targets)
        tensors["calibration.temperature"] = np.array([temperature], dtype=np.float32)
    return tensors


def clean_rows(
    session: runtime.Graph, tensors: Mapping[str, project.Array], data: project.Data
) -> dict[str, project.Array]:
    """Return `features`, `scores` and `targets` of validation and holdout rows, and their slices.

    For each slice, `slice.<kind>=<value>` marks its rows with 1.

    Neither was trained on, so they look like production does before anything drifts.

    Parameters
    ----------
    tensors
        From `monitoring`.
    """
    rows = spread(joined(data.validation, data.holdout), REFERENCE_ROWS)
    scores = _run(session, rows, runtime.SCORES)
    basis = features.read_basis(tensors)
    columns = features.monitoring_features(
        input_specs(rows),
        rows.inputs,
        scores,
        embedding=_run(session, rows, runtime.EMBEDDING) if basis else None,
        basis=basis,
    )
    targets = rows.targets.astype(np.float64)
    clean: dict[str, project.Array] = {"features": columns, "scores": scores, "targets": targets}
    return clean | slice_masks(rows)


def slice_masks(split: project.Split) -> dict[str, project.Array]:
    """Mark the rows of every slice, named as the server names it in its events.

    >>> pens = {"pen": np.array(["a", "", "b"])}
    >>> rows = project.Split(inputs={}, targets=np.zeros(3), slices=pens)
    >>> {name: mask.tolist() for name, mask in slice_masks(rows).items()}
    {'slice.pen=a': [1, 0, 0], 'slice.pen=b': [0, 0, 1]}
    """
    found: dict[str, project.Array] = {}
    for kind, values in split.slices.items():
        texts = values.astype(str)
        known = [value for value in np.unique(texts).tolist() if value]
        if len(known) <= MOST_SLICES:
            found |= {f"slice.{kind}={value}": (texts == value).astype(np.uint8) for value in known}
    return found


def joined(first: project.Split, second: project.Split) -> project.Split:
    """Return the rows of both, one after the other, with the slices that both have."""
    return project.Split(
        inputs={
            name: np.concatenate([array, second.inputs[name]])
            for name, array in first.inputs.items()
        },
        targets=np.concatenate([first.targets, second.targets]),
        slices={
            name: np.concatenate([values, second.slices[name]])
            for name, values in first.slices.items()
            if name in second.slices
        },
    )


def spread(split: project.Split, most: int) -> project.Split:
    """Return at most so many rows, evenly spaced."""
    return split.take(np.unique(np.linspace(0, split.rows - 1, most).astype(np.int64)))


def _run(session: runtime.Graph, split: project.Split, output: str) -> Floats:
    step = train.PREDICT_ROWS
    parts = [
        session.run({name: a[at : at + step] for name, a in split.inputs.items()})[output]
        for at in range(0, split.rows, step)
    ]
    return np.concatenate(parts).astype(np.float32)


def principal_components(embedding: Floats) -> features.Basis:
    """Return the first principal components of an embedding [rows, d]: at most 8, fewer if flat.

    Each component's largest entry is positive, so that the same data give the same signs.

    >>> basis = principal_components(np.array([[1, 0], [2, 0], [3, 0]], dtype=np.float32))
    >>> basis.mean.tolist(), basis.components.tolist()
    ([2.0, 0.0], [[1.0, 0.0]])
    """
    mean = embedding.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(embedding - mean, full_matrices=False)
    axes = axes[: features.MAX_COMPONENTS][
        lengths[: features.MAX_COMPONENTS] > 1e-6 * max(float(lengths[0]), 1e-30)
    ]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1)
    components = (axes * np.sign(largest)).astype(np.float32) + np.float32(0)
    return features.Basis(mean=mean.astype(np.float32), components=components)


def calibrate(logits: Floats, targets: project.Array) -> float:
    """Return the temperature that makes softmax(logits / temperature) fit the targets best.

    Found by a bounded search over its logarithm, for a temperature in [0.05, 20].

    Parameters
    ----------
    logits
        [rows, classes].
    targets
        Class indices [rows].

    References
    ----------
    Guo et al.: On Calibration of Modern Neural Networks, 2017.

    Examples
    --------
    Three of four are right, so a margin of log 3 would be honest; the model claims twice that:

    >>> logits = np.log(np.array([[9.0, 1.0]] * 4, dtype=np.float32))
    >>> round(calibrate(logits, np.array([0, 0, 0, 1])), 2)
    2.0
    """
    wide = logits.astype(np.float64)
    truth = wide[np.arange(len(wide)), targets.astype(np.int64)]

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        top = wide.max(axis=1)
        total = np.log(np.exp((wide - top[:, np.newaxis]) * scale).sum(axis=1))
        return float((total - (truth - top) * scale).mean())

    bounds = (float(np.log(0.05)), float(np.log(20.0)))
    found = optimize.minimize_scalar(surprise, bounds=bounds, method="bounded")
    return float(np.exp(found.x))
