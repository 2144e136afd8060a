"""A client: asks what the air's carbon dioxide will do, then tells what it did.

Run it while `coppice up` runs: `python ask.py`, or `python ask.py http://127.0.0.1:3000 50`.
"""

from __future__ import annotations

import sys

import httpx
import numpy as np
from project import as_last_year, load_data

MODEL = "co2"


def ask(client: httpx.Client, past: np.ndarray, season: str) -> tuple[str, float]:
    """Send the past weeks [65]; return the request's id and the change to come, ppm."""
    tensor = {
        "name": "ppm",
        "datatype": "FP32",
        "shape": [1, len(past)],
        "data": past.tolist(),
    }
    answer = client.post(
        f"/v2/models/{MODEL}/infer",
        json={"inputs": [tensor]},
        headers={"x-coppice-slices": f"season={season}"},
    )
    answer.raise_for_status()
    return answer.headers["x-request-id"], answer.json()["outputs"][0]["data"][0]


def main(server: str = "http://127.0.0.1:3000", rows: int = 200) -> None:
    """Forecast from `rows` weeks, tell what came of each, and compare with two simple forecasts."""
    holdout = load_data().holdout
    weeks = holdout.take(np.random.default_rng().integers(0, holdout.rows, size=rows))
    past, came = weeks.inputs["ppm"], weeks.targets
    forecast = np.zeros(rows)
    with httpx.Client(base_url=server, timeout=10.0) as client:
        for row in range(rows):
            request, forecast[row] = ask(client, past[row], weeks.slices["season"][row])
            feedback = {"request_id": request, "label": float(came[row])}
            client.post("/feedback", json=feedback).raise_for_status()
    for name, said in (
        ("the network", forecast),
        ("as last year", as_last_year(past)),
        ("no change", np.zeros(rows)),
    ):
        print(f"{name:<12} {np.abs(said - came).mean():.2f} ppm off")  # noqa: T201 - a script speaks to you


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
