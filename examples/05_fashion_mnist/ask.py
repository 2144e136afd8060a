"""A client: sends holdout pictures as bytes by the Open Inference Protocol, then tells the truth.

Run it while `coppice up` runs: `python ask.py`, or `python ask.py http://127.0.0.1:3000 50`.
"""

from __future__ import annotations

import json
import sys

import httpx
import numpy as np
from project import CLASSES, load_data

MODEL = "fashion"


def ask(client: httpx.Client, picture: np.ndarray, cover: str) -> tuple[str, int]:
    """Send one picture [1, 28, 28]; return the request's id and the label of the answer.

    784 numbers are 3 kB as bytes and three times as many as text, so they follow the JSON as they
    lie in memory: the protocol's binary tensor extension.
    """
    raw = picture.astype("<f4").tobytes()
    tensor = {
        "name": "pixels",
        "datatype": "FP32",
        "shape": [1, *picture.shape],
        "parameters": {"binary_data_size": len(raw)},
    }
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}).encode()
    answer = client.post(
        f"/v2/models/{MODEL}/infer",
        content=header + raw,
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(header)),
            "x-coppice-slices": f"cover={cover}",
        },
    )
    answer.raise_for_status()
    return answer.headers["x-request-id"], answer.json()["outputs"][0]["data"][0]


def main(server: str = "http://127.0.0.1:3000", rows: int = 200) -> None:
    """Ask about `rows` pictures, label each, and say how many answers were right."""
    holdout = load_data().holdout
    rng, right = np.random.default_rng(), 0
    with httpx.Client(base_url=server, timeout=10.0) as client:
        for row in rng.integers(0, holdout.rows, size=rows):
            picture, cover = holdout.inputs["pixels"][row], holdout.slices["cover"][row]
            request, label = ask(client, picture, cover)
            truth = int(holdout.targets[row])
            feedback = {"request_id": request, "label": CLASSES[truth]}
            client.post("/feedback", json=feedback).raise_for_status()
            right += label == truth
    print(f"{right} of {rows} right")  # noqa: T201 - a script speaks to you


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
