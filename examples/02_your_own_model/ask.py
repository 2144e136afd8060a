"""A client: sends holdout tumours by the Open Inference Protocol, then tells the truth.

Run it while `coppice up` runs: `python ask.py`, or `python ask.py http://127.0.0.1:3000 50`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import httpx
import numpy as np
from project import load_data

MODEL = "tumours"


def ask(client: httpx.Client, row: Mapping[str, np.ndarray], size: str) -> dict[str, object]:
    """Send one row and return the answer; `x-coppice-slices` says which slice it belongs to."""
    tensors = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": [1, len(values)],
            "data": [float(value) for value in values],
        }
        for name, values in row.items()
    ]
    answer = client.post(
        f"/v2/models/{MODEL}/infer",
        json={"inputs": tensors},
        headers={"x-coppice-slices": f"size={size}"},
    )
    answer.raise_for_status()
    return {
        "id": answer.headers["x-request-id"],
        "label": answer.json()["outputs"][1]["data"][0],
    }


def main(server: str = "http://127.0.0.1:3000", rows: int = 200) -> None:
    """Ask about `rows` tumours, label each, and say how many answers were right."""
    holdout = load_data().holdout
    rng, right = np.random.default_rng(), 0
    with httpx.Client(base_url=server, timeout=10.0) as client:
        for row in rng.integers(0, holdout.rows, size=rows):
            inputs = {name: values[row] for name, values in holdout.inputs.items()}
            answer = ask(client, inputs, holdout.slices["size"][row])
            truth = int(holdout.targets[row])
            feedback = {"request_id": answer["id"], "label": truth}
            client.post("/feedback", json=feedback).raise_for_status()
            right += answer["label"] == truth
    print(f"{right} of {rows} right")  # noqa: T201 - a script speaks to you


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
