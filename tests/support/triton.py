"""The reference clients against a server; run as a program, because one brings gevent along.

Usage: ``python -m tests.support.triton HTTP_PLACE [GRPC_PLACE]``; prints what they got as JSON.
The server's model takes every datatype (`tests.support.typed`) or four numbers `x`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from tritonclient import grpc, http

from coppice import numbers
from tests.support import typed

ROWS = np.array([[1.0] * 4, [-1.0] * 4], dtype=np.float32)


def over_http(place: str) -> dict[str, Any]:
    """Ask in each of the HTTP client's ways and return what came back."""
    client: Any = http.InferenceServerClient(place, concurrency=2)
    model = client.get_model_metadata("tiny")
    made = [tensor(http, one["name"], one["datatype"]) for one in model["inputs"]]
    as_json = [
        tensor(http, one["name"], one["datatype"], binary_data=False) for one in model["inputs"]
    ]
    version = model["versions"][0]
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("tiny"),
        "version": client.is_model_ready("tiny", version),
        "metadata": [one["datatype"] for one in model["inputs"]],
        "server": client.get_server_metadata()["name"],
        "defaults": labels(client.infer("tiny", made, request_id="t1")),
        "named": labels(client.infer("tiny", made, model_version=version)),
        "json": labels(client.infer("tiny", as_json, outputs=wanted(http, binary_data=False))),
        "async": labels(client.async_infer("tiny", made).get_result()),
        "refusal": refusal(lambda: client.infer("other", made)),
        "statistics": refusal(client.get_inference_statistics),
        "index": refusal(client.get_model_repository_index),
    }
    for coding in ("gzip", "deflate"):
        squeezed = {
            "request_compression_algorithm": coding,
            "response_compression_algorithm": coding,
        }
        found[coding] = labels(client.infer("tiny", made, **squeezed))
        found[f"{coding} as JSON"] = labels(client.infer("tiny", as_json, **squeezed))
    client.close()
    return found


def over_grpc(place: str) -> dict[str, Any]:
    """Ask in each of the gRPC client's ways and return what came back."""
    client: Any = grpc.InferenceServerClient(place)
    model = client.get_model_metadata("tiny", as_json=True)
    made = [tensor(grpc, one["name"], one["datatype"]) for one in model["inputs"]]
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("tiny"),
        "metadata": [one["datatype"] for one in model["inputs"]],
        "server": client.get_server_metadata().name,
        "defaults": labels(client.infer("tiny", made, request_id="t2")),
        "outputs": labels(client.infer("tiny", made, outputs=wanted(grpc))),
        "gzip": labels(client.infer("tiny", made, compression_algorithm="gzip")),
        "refusal": refusal(lambda: client.infer("other", made)),
    }
    client.close()
    return found


def tensor(client: Any, name: str, kind: str, **options: Any) -> Any:
    """Two rows that mean "yes" and "no", as a client wants them; unsigned ones mean nothing."""
    rows: Any = ROWS
    if name != "x":
        values = [["yes", "yes"], ["no", "no"]] if kind == "BYTES" else [[1, 0], [0, 0]]
        dtype = numbers.BFLOAT16 if kind == "BF16" else np.dtype(typed.KINDS[kind])
        rows = np.array(values, dtype=dtype)
    made = client.InferInput(name, list(rows.shape), kind)
    # The HTTP client has no JSON for 16-bit floats, though the server reads it.
    as_bytes = {"binary_data": True} if options and kind in {"FP16", "BF16"} else options
    made.set_data_from_numpy(rows, **as_bytes)
    return made


def wanted(client: Any, **options: Any) -> list[Any]:
    """Ask for both outputs."""
    return [client.InferRequestedOutput(name, **options) for name in ("scores", "label")]


def labels(result: Any) -> list[int]:
    """The labels of a result whose scores name the same classes."""
    found: list[int] = result.as_numpy("label").tolist()
    assert result.as_numpy("scores").argmax(axis=1).tolist() == found
    return found


def refusal(ask: Callable[[], Any]) -> str:
    """What a client says of a refusal."""
    try:
        return f"not refused: {ask()}"
    except Exception as refused:  # noqa: BLE001 - the client's own class
        return str(refused)


if __name__ == "__main__":
    answers = {"http": over_http(sys.argv[1])}
    if len(sys.argv) > 2:
        answers["grpc"] = over_grpc(sys.argv[2])
    print(json.dumps(answers))  # noqa: T201 - this is its answer
