"""How much memory a graph takes to serve, measured in a process of its own.

Run as `python -m retrain.evaluate.footprint GRAPH ENGINE PRECISION ROWS.npz`: loads the graph,
answers the rows, and prints as JSON by how many bytes the process grew at its highest. What was
needed before (Python, numpy, the engine's own code) is not counted, because it is there once.

On Linux the kernel's high-water mark of this process is reset first and read afterwards, because
`ru_maxrss` carries over the peak of whoever started the process. Elsewhere its growth has to do.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from coppice import artifact, project, runtime

PATIENCE = 60.0
"""Seconds until a measurement is given up."""
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def measure(packed: runtime.Packed, inputs: Mapping[str, project.Array]) -> int | None:
    """Return the bytes that loading a graph and answering a batch need at their highest.

    `None` where the process fails or takes longer than `PATIENCE`.
    """
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        rows = Path(name) / "rows.npz"
        # The stubs take every keyword for `allow_pickle`.
        np.savez(rows, **dict(inputs))  # type: ignore[arg-type]
        command = [sys.executable, "-m", "retrain.evaluate.footprint", *map(str, packed), str(rows)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            done = subprocess.run(
                command, capture_output=True, check=True, timeout=PATIENCE, env=environment
            )
        except (subprocess.SubprocessError, OSError):
            return None
    return int(json.loads(done.stdout)["grown_bytes"])


def grown(packed: runtime.Packed, inputs: Mapping[str, project.Array]) -> int:
    """Return by how many bytes this process grows at its highest while it serves once."""
    runtime.require(packed.engine)
    before = _start()
    runtime.load(packed).run(inputs)
    return max(_peak() - before, 0)


def _start() -> int:
    """Forget the highest mark so far, and return the present one."""
    if _RESET.exists():
        _RESET.write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    if _STATUS.exists():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        mark = next(line for line in lines if line.startswith("VmHWM:"))
        return int(mark.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: list[str]) -> None:
    """Measure one graph on the rows of one file, and print the growth."""
    path, engine, precision, rows = arguments
    packed = runtime.Packed(
        Path(path),
        msgspec.convert(engine, artifact.Engine),
        msgspec.convert(precision, artifact.Precision),
    )
    with np.load(rows, allow_pickle=False) as stored:
        inputs = {name: stored[name] for name in stored.files}
    sys.stdout.write(json.dumps({"grown_bytes": grown(packed, inputs)}))


if __name__ == "__main__":
    main(sys.argv[1:])
