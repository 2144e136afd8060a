"""The runtime: a verified artifact in memory, and the answers and features that it gives.

Serving, replay and evaluation all answer through this one file, so that a version is judged by the
very code that serves it. It is the only file that answers through onnxruntime; torch is never
needed, and `coppice.openvino` is loaded only for an artifact that names that engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import (
    onnxruntime_pybind11_state as library,  # pyright: ignore[reportAttributeAccessIssue]
)

from coppice import artifact, errors, features

Array: TypeAlias = npt.NDArray[np.generic]
Floats: TypeAlias = npt.NDArray[np.float32]

SCORES = "scores"
EMBEDDING = "embedding"

_BFLOAT16 = 16
"""Number of bfloat16 in ONNX's `TensorProto.DataType`."""

# The same names are reached through the runtime, so that who answers also tells the columns.
Basis = features.Basis
feature_names = features.feature_names
monitoring_features = features.monitoring_features
read_basis = features.read_basis

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


class Answers(NamedTuple):
    """What a version says about a batch.

    `scores` are float32: class probabilities [rows, classes], or regression values [rows].
    `features` are the monitoring features, float32 [rows, F].
    """

    scores: Floats
    features: Floats


class Graph(Protocol):
    """A graph in memory, whatever runs it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it takes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answer a batch; safe from several threads at once."""
        ...


class Packed(NamedTuple):
    """A graph on disk, and what it is to be run with.

    Attributes
    ----------
    path
        `model.onnx`; for OpenVINO also an `.xml` of its own format.
    """

    path: Path
    engine: artifact.Engine = "onnxruntime"
    precision: artifact.Precision = "fp32"


def load(packed: Packed, *, threads: int = 1) -> Graph:
    """Load a graph with the engine that it is meant for.

    Raises
    ------
    EngineMissing
        That engine is not installed.
    ArtifactError
        The file cannot be loaded.
    """
    match packed.engine:
        case "onnxruntime":
            return Session(packed.path, threads=threads)
        case "openvino":
            # Loaded here and not above: most artifacts never need it.
            from coppice import openvino

            return openvino.Session(packed.path, precision=packed.precision, threads=threads)


def require(engine: artifact.Engine) -> None:
    """Make sure that an engine is there, before it is needed.

    Raises
    ------
    EngineMissing
        It is not installed.
    """
    if engine == "openvino":
        from coppice import openvino

        openvino.library()


def packed(folder: Path) -> Packed:
    """Return an artifact's graph, and what its manifest says to run it with.

    Raises
    ------
    ArtifactError
        The folder has no manifest that can be read.
    """
    manifest = artifact.read_manifest(folder)
    return Packed(folder / artifact.MODEL, manifest.engine, manifest.precision)


class Session:
    """One ONNX graph, loaded into ONNX Runtime for the CPU.

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
        nodes = self._session.get_inputs()
        self.inputs: tuple[str, ...] = tuple(node.name for node in nodes)
        self._bfloat16 = {node.name for node in nodes if node.type == "tensor(bfloat16)"}
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once and return its outputs by name. Safe from several threads at once.

        Raises
        ------
        ArtifactError
            The graph fails on these inputs.
        """
        try:
            outputs = self._session.run(self.outputs, self._feeds(inputs))
        except (*_FAILURES, ValueError) as cause:  # ValueError: an input is missing
            # Clients read this: they need not know where it lies.
            message = f"{self._path.parent.name}/{self._path.name} failed: {cause}"
            raise errors.ArtifactError(message) from cause
        return dict(zip(self.outputs, outputs, strict=True))

    def _feeds(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        feeds: dict[str, Any] = dict(inputs)
        for name in self._bfloat16 & feeds.keys():
            # The library knows bfloat16, but not numpy's name for it: it is told the bits.
            bits = np.ascontiguousarray(feeds[name]).view(np.uint16)
            feeds[name] = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)
        return feeds


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
    EngineMissing
        The engine that the manifest names is not installed.
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
        self._session = load(packed(folder), threads=threads)
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
            self.predict({spec.name: _blank(spec, count) for spec in self.manifest.inputs})

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

    def scores(self, inputs: Mapping[str, Array]) -> Floats:
        """Answer a batch as `predict` does, without the monitoring features.

        Raises
        ------
        ArtifactError
            The graph fails on these inputs, or its answer has the wrong shape or is not finite.
        """
        outputs = self._session.run(inputs)
        return self._checked(outputs[SCORES], rows=len(next(iter(inputs.values()))))

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


def _blank(spec: artifact.TensorSpec, rows: int) -> Array:
    """Return a batch of zeros, or of empty texts."""
    dtype = np.dtype(spec.dtype)
    return np.full((rows, *spec.shape), "" if dtype.kind in "OUS" else 0, dtype=dtype)


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options
