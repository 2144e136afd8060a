"""What the contestants share: the session and the options of the HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

Floats = npt.NDArray[np.float32]

UVICORN: dict[str, Any] = {
    "http": "httptools",
    "loop": "uvloop",
    "access_log": False,
    "log_level": "warning",
    "server_header": False,
}
"""What uvicorn takes by itself where both are installed, and no line of log for each request."""


def open_session(model: str) -> Any:
    """Open a graph for one core, with threads that do not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runner(model: str) -> Callable[[Floats], Floats]:
    """Return a function from a batch to its scores."""
    opened = open_session(model)
    name = opened.get_inputs()[0].name
    return lambda batch: opened.run(["scores"], {name: batch})[0]  # type: ignore[no-any-return]


def shape(model: str) -> tuple[int, ...]:
    """Return the shape of a batch of any size."""
    return (-1, *open_session(model).get_inputs()[0].shape[1:])
