"""Graphs run by OpenVINO, for artifacts whose manifest names it: the only file that imports it.

It reads the artifact's own ONNX file, so an artifact keeps one graph whatever runs it. The library
is an extra, `pip install 'coppice[openvino]'`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coppice import artifact, errors, numbers

_HINTS: dict[artifact.Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What is asked of the engine. It is never left to choose: on some processors it would compute in
bf16, and another machine would give other answers. What is quantized stays int8 beside f32."""

_FAILURES = (RuntimeError, TypeError, ValueError)
"""The library raises these of Python's own."""


def library() -> Any:
    """Import OpenVINO without the part that reports each import to its makers.

    With no such module OpenVINO takes its own silent stand-in. No variable switches it off.

    Raises
    ------
    EngineMissing
        It is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as cause:
        message = (
            f"OpenVINO cannot be loaded ({cause}); install it with pip install 'coppice[openvino]'"
        )
        raise errors.EngineMissing(message) from cause
    return openvino


class _Port(NamedTuple):
    """What an input takes: numpy's name for it, the shape with free dimensions, the library's."""

    dtype: np.dtype[Any]
    shape: Any
    kind: Any


class Session:
    """One graph, compiled for the CPU.

    Threads are never pinned to cores: two servers on a machine would be pinned to the same ones.

    Parameters
    ----------
    path
        An `.onnx` file, or an `.xml` of OpenVINO's own format with its `.bin` beside it.
    precision
        What to compute in; what is quantized in the graph stays so.
    threads
        Threads that one run may use.

    Raises
    ------
    EngineMissing
        OpenVINO is not installed.
    ArtifactError
        The file cannot be loaded.
    """

    def __init__(
        self, path: Path, *, precision: artifact.Precision = "fp32", threads: int = 1
    ) -> None:
        self._path = path
        self._library = library()
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        core = self._library.Core()
        try:
            self._compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        except _FAILURES as cause:
            message = f"{path} cannot be loaded: {_first_line(cause)}; pack the artifact again"
            raise errors.ArtifactError(message) from cause
        self.inputs: tuple[str, ...] = tuple(_name(port) for port in self._compiled.inputs)
        self.outputs: tuple[str, ...] = tuple(_name(port) for port in self._compiled.outputs)
        self._ports = {_name(port): _read(port) for port in self._compiled.inputs}
        self._local = threading.local()

    def run(self, inputs: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Any]:
        """Run the graph once and return its outputs by name. Safe from several threads at once.

        Raises
        ------
        ArtifactError
            The graph fails on these inputs.
        """
        if set(inputs) != set(self.inputs):
            # A missing one would silently be what it was in the run before.
            message = f"{self._path} failed: it takes {self.inputs}, not {sorted(inputs)}"
            raise errors.ArtifactError(message)
        try:
            found = self._request().infer({name: self._fed(name, inputs[name]) for name in inputs})
        except _FAILURES as cause:
            message = f"{self._path} failed: {_first_line(cause)}"
            raise errors.ArtifactError(message) from cause
        return dict(zip(self.outputs, found.values(), strict=True))

    def _request(self) -> Any:
        """Return this thread's own request: one request answers one caller at a time."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request

    def _fed(self, name: str, array: npt.NDArray[np.generic]) -> Any:
        """Return a tensor that fits: the library itself casts, and takes wrong shapes in silence.

        Raises
        ------
        ArtifactError
            The array does not fit.
        """
        port = self._ports[name]
        shape = self._library.PartialShape(list(array.shape))
        if array.dtype != port.dtype or not port.shape.compatible(shape):
            message = (
                f"{self._path} failed: input {name!r} is {array.dtype.name} {list(array.shape)}, "
                f"the graph takes {port.dtype.name} {port.shape}"
            )
            raise errors.ArtifactError(message)
        if array.dtype != numbers.BFLOAT16:
            return np.ascontiguousarray(array)
        # The library knows bfloat16, but not numpy's name for it: it is told the bits.
        bits = np.ascontiguousarray(array).view(np.uint16)
        return self._library.Tensor(bits, list(bits.shape), port.kind)


def convert(path: Path, target: Path) -> None:
    """Write an ONNX graph in OpenVINO's own format: `target` (.xml), and a .bin beside it.

    Weights are kept as they are; half of their bits are never thrown away.

    Raises
    ------
    EngineMissing
        OpenVINO is not installed.
    ArtifactError
        The file cannot be read or written.
    """
    engine = library()
    try:
        model = engine.Core().read_model(str(path))
        engine.save_model(model, str(target), compress_to_fp16=False)
    except _FAILURES as cause:
        message = f"{path} cannot be written as {target}: {_first_line(cause)}"
        raise errors.ArtifactError(message) from cause


def _read(port: Any) -> _Port:
    kind = port.get_element_type()
    bfloat16 = kind.get_type_name() == "bf16"
    dtype = numbers.BFLOAT16 if bfloat16 else np.dtype(kind.to_dtype())
    return _Port(dtype=dtype, shape=port.get_partial_shape(), kind=kind)


def _name(port: Any) -> str:
    # A port may go by several names; inside the graph's own file it has exactly one.
    name: str = port.get_any_name()
    return name


def _first_line(cause: BaseException) -> str:
    """Return the last line that says something: the ones before tell where in the library."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__
