"""Ask a server whether it is ready, then for one answer: what `helm test` runs in the cluster.

It needs nothing but Python. The input is made from the model's own description: one row of noughts.
The answer is in the log, and counts as traffic, like every other.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 10.0


def ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what lies at an address; with a body, what it answers to that."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - the address is the chart's own
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the same
        found: dict[str, Any] = json.load(response)
    return found


def row(tensor: dict[str, Any]) -> dict[str, Any]:
    """Return one row of noughts for an input; a size that may vary is one.

    >>> row({"name": "x", "datatype": "FP32", "shape": [-1, 2]})["data"]
    [0, 0]
    """
    shape = [max(size, 1) for size in tensor["shape"]]
    count = 1
    for size in shape:
        count *= size
    empty = "" if tensor["datatype"] == "BYTES" else 0
    made = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape}
    return {**made, "data": [empty] * count}


def ready(server: str, patience: float) -> None:
    """Wait until a server is ready; raises what it said last where it does not get there."""
    until = time.monotonic() + patience
    while True:
        try:
            ask(f"{server}/v2/health/ready")
        except (urllib.error.URLError, OSError) as problem:
            if time.monotonic() > until:
                raise
            print(f"not ready yet: {problem}")  # noqa: T201 - the pod's log is what people read
            time.sleep(PAUSE_SECONDS)
        else:
            return


def main(server: str, model: str, patience: float) -> None:
    """Ask, and tell what came."""
    ready(server, patience)
    described = ask(f"{server}/v2/models/{model}")
    inputs = [row(tensor) for tensor in described["inputs"]]
    answer = ask(f"{server}/v2/models/{model}/infer", {"inputs": inputs})
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    if not outputs:
        sys.exit(f"{model} answered without outputs: {answer}")
    print(f"{model} {answer.get('model_version', '')} answers: {json.dumps(outputs)[:500]}")  # noqa: T201 - the same


if __name__ == "__main__":
    main(os.environ["SERVER"].rstrip("/"), os.environ["MODEL"], float(os.environ["PATIENCE"]))
