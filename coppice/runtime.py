"""The runtime: a verified artifact in memory, and the answers and features that it gives.

Serving, replay and evaluation all answer through this one file, so that a version is judged by the
very code that serves it. It is the only file that imports onnxruntime; torch is never needed.

Monitoring features
-------------------
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
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as library

from coppice import artifact, errors

Array: TypeAlias = npt.NDArray[np.generic]
Floats: TypeAlias = npt.NDArray[np.float32]

SCORES = "scores"
EMBEDDING = "embedding"
MAX_FEATURES = 32
MAX_CLASSES = 16
MAX_COMPONENTS = 8
MAX_COLUMNS = 12
MAX_VALUES = 4096
STATISTICS = ("mean", "std", "min", "max", "zero_share")

_NUMBERS = "biuf"
_FAILURES = (
    library.EPFail,
    library.EngineError,
    library.Fail,
    library.InvalidArgument,
    library.InvalidGraph,
    library.InvalidProtobuf,
    library.ModelRequiresCompilation,
    library.NoModel,
    library.NoSuchFile,
    library.NotFound,
    library.NotImplemented,
    library.RuntimeException,
)


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


class Answers(NamedTuple):
    """What a version says about a batch.

    `scores` are float32: class probabilities [rows, classes], or regression values [rows].
    `features` are the monitoring features, float32 [rows, F].
    """

    scores: Floats
    features: Floats


class Session:
    """One ONNX graph, loaded for the CPU.

    Threads never spin while they wait: a spinning pool takes the cores from the server beside it.

    Parameters
    ----------
    path
        The `.onnx` file.
    threads
        Threads that one run may use.

    Raises
    ------
    ArtifactError
        The file cannot be loaded.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._path = path
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), _options(threads), providers=["CPUExecutionProvider"]
            )
        except _FAILURES as cause:
            message = f"{path} cannot be loaded: {cause}; pack the artifact again"
            raise errors.ArtifactError(message) from cause
        self.inputs: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once and return its outputs by name. Safe from several threads at once.

        Raises
        ------
        ArtifactError
            The graph fails on these inputs.
        """
        try:
            outputs = self._session.run(self.outputs, dict(inputs))
        except (*_FAILURES, ValueError) as cause:  # ValueError: an input is missing
            message = f"{self._path} failed: {cause}"
            raise errors.ArtifactError(message) from cause
        return dict(zip(self.outputs, outputs, strict=True))


class Runtime:
    """A version that is ready to answer.

    Every digest is checked before a byte is used.

    Parameters
    ----------
    folder
        An artifact.
    threads
        Threads that one batch may use.
    expected_tag
        The tag that the folder must be, where the caller knows it.

    Raises
    ------
    ArtifactCorrupt
        A file does not match the manifest, or the manifest does not match the tag.
    ArtifactError
        The graph cannot be loaded, or does not fit the manifest.

    Attributes
    ----------
    manifest
        What the version is.
    tag
        Its name and id.
    temperature
        The version's own calibrator: its logits over this are calibrated; 1 where it has none.
    """

    def __init__(self, folder: Path, *, threads: int = 1, expected_tag: str | None = None) -> None:
        self.manifest = artifact.verify(folder, expected_tag)
        self.tag = artifact.tag(folder)
        self._session = Session(folder / artifact.MODEL, threads=threads)
        tensors = artifact.load_tensors(folder, artifact.MONITORING)
        self._basis = read_basis(tensors) if EMBEDDING in self._session.outputs else None
        self.temperature = float(tensors.get("calibration.temperature", np.ones(1)).flat[0])
        self._check_graph()

    def warm_up(self, rows: tuple[int, ...] = (1, 8)) -> None:
        """Answer batches of zeros, so that the first request does not pay for allocations.

        Raises
        ------
        ArtifactError
            The graph fails, or answers in the wrong shape.
        """
        for count in rows:
            self.predict(
                {
                    spec.name: np.zeros((count, *spec.shape), dtype=spec.dtype)
                    for spec in self.manifest.inputs
                }
            )

    def predict(self, inputs: Mapping[str, Array]) -> Answers:
        """Answer a batch. Safe from several threads at once.

        The inputs are not checked here: whoever takes them from outside calls
        `artifact.check_inputs` once at the door, before batches are joined.

        Parameters
        ----------
        inputs
            By name, rows first, in the manifest's dtypes and shapes.

        Raises
        ------
        ArtifactError
            The graph fails on these inputs, or its answer has the wrong shape or is not finite.
        """
        outputs = self._session.run(inputs)
        scores = self._checked(outputs[SCORES], rows=len(next(iter(inputs.values()))))
        if not self.manifest.features:
            return Answers(scores, np.empty((len(scores), 0), dtype=np.float32))
        embedding = outputs.get(EMBEDDING)
        features = monitoring_features(
            self.manifest.inputs, inputs, scores, embedding=embedding, basis=self._basis
        )
        return Answers(scores, features)

    def _checked(self, raw: Array, rows: int) -> Floats:
        scores = np.asarray(raw, dtype=np.float32)
        classes = len(self.manifest.classes)
        if not classes and scores.shape == (rows, 1):
            scores = scores[:, 0]
        expected = (rows, classes) if classes else (rows,)
        if scores.shape != expected:
            message = f"{self.tag} answers in shape {scores.shape}, expected {expected}"
            raise errors.ArtifactError(message)
        if not np.isfinite(scores).all():
            message = f"{self.tag} answers NaN or infinite values to these inputs"
            raise errors.ArtifactError(message)
        return scores

    def _check_graph(self) -> None:
        wanted = {spec.name for spec in self.manifest.inputs}
        if set(self._session.inputs) != wanted:
            message = f"{self.tag}: the graph takes {self._session.inputs}, not {sorted(wanted)}"
            raise errors.ArtifactError(message)
        if SCORES not in self._session.outputs:
            message = f"{self.tag}: the graph gives {self._session.outputs}, but no {SCORES!r}"
            raise errors.ArtifactError(message)
        components = len(self._basis.components) if self._basis else 0
        names = feature_names(self.manifest.inputs, self.manifest.classes, components)
        if self.manifest.features not in {(), names}:
            message = (
                f"{self.tag} was packed with the features {list(self.manifest.features)}, "
                f"this version computes {list(names)}; pack it again"
            )
            raise errors.ArtifactError(message)


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


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
    if np.dtype(spec.dtype).kind not in _NUMBERS or size == 0:
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
    if array.dtype.kind not in _NUMBERS or array.size == 0:
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
