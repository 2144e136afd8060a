"""The reference client against a server; run as a program, because it brings gevent along.

Usage: ``python -m tests.support.triton HOST:PORT``; prints what it got as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from tritonclient import http

ROWS = np.array([[1.0] * 4, [-1.0] * 4], dtype=np.float32)


def main(place: str) -> dict[str, Any]:
    """Ask in each of the client's ways and return what came back."""
    client = http.InferenceServerClient(place)
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("tiny"),
        "metadata": client.get_model_metadata("tiny")["inputs"],
        "server": client.get_server_metadata()["name"],
        "defaults": labels(client.infer("tiny", [tensor(binary=True)], request_id="t1")),
        "json": labels(client.infer("tiny", [tensor(binary=False)], outputs=wanted(binary=False))),
        "gzip": labels(
            client.infer("tiny", [tensor(binary=True)], request_compression_algorithm="gzip")
        ),
    }
    try:
        client.infer("other", [tensor(binary=True)])
    except Exception as refusal:  # noqa: BLE001 - the client's own class
        found["refusal"] = str(refusal)
    client.close()
    return found


def tensor(*, binary: bool) -> Any:
    """The rows as the client wants them."""
    made = http.InferInput("x", list(ROWS.shape), "FP32")
    made.set_data_from_numpy(ROWS, binary_data=binary)
    return made


def wanted(*, binary: bool) -> list[Any]:
    """Ask for both outputs."""
    return [http.InferRequestedOutput(name, binary_data=binary) for name in ("scores", "label")]


def labels(result: Any) -> list[int]:
    """The labels of a result whose scores name the same classes."""
    found: list[int] = result.as_numpy("label").tolist()
    assert result.as_numpy("scores").argmax(axis=1).tolist() == found
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - this is its answer
