"""A client: asks about holdout members by the Open Inference Protocol, then tells what happened.

Run it while `coppice up` runs: `python ask.py`, or `python ask.py http://127.0.0.1:3000 50`.
"""

from __future__ import annotations

import itertools
import sys

import httpx
import numpy as np
from project import CLASSES, NUMBERS, OFTEN, load_data

from coppice.project import Split

MODEL = "members"
BANDS = (0.0, 0.2, 0.5, 1.0)
"""What is done about a member depends on the probability: nothing, a letter, or a call."""


def ask(client: httpx.Client, member: Split) -> tuple[str, float]:
    """Send one member; return the request's id and the probability of `often`.

    `x-coppice-slices` says to which slices the member belongs.
    """
    codes = member.inputs["codes"]
    numbers = member.inputs["numbers"]
    tensors = [
        {"name": "numbers", "datatype": "FP32", "shape": numbers.shape, "data": numbers.tolist()},
        {"name": "codes", "datatype": "INT64", "shape": codes.shape, "data": codes.tolist()},
    ]
    slices = ",".join(f"{family}={names[0]}" for family, names in member.slices.items())
    answer = client.post(
        f"/v2/models/{MODEL}/infer",
        json={"inputs": tensors, "outputs": [{"name": "scores"}]},
        headers={"x-coppice-slices": slices},
    )
    answer.raise_for_status()
    scores = answer.json()["outputs"][0]["data"]
    return answer.headers["x-request-id"], scores[CLASSES.index("often")]


def main(server: str = "http://127.0.0.1:3000", rows: int = 200) -> None:
    """Ask about `rows` members, label each, and hold the answers against a rule of thumb."""
    holdout = load_data().holdout
    members = holdout.take(np.random.default_rng().integers(0, holdout.rows, size=rows))
    probabilities = np.zeros(rows)
    with httpx.Client(base_url=server, timeout=10.0) as client:
        for row in range(rows):
            request, probabilities[row] = ask(client, members.take(np.array([row])))
            feedback = {"request_id": request, "label": CLASSES[members.targets[row]]}
            client.post("/feedback", json=feedback).raise_for_status()
    often = members.targets == 1
    this_year = members.inputs["numbers"][:, NUMBERS.index("mdvis")] >= OFTEN
    print(f"{sum((probabilities > 0.5) == often)} of {rows} right")  # noqa: T201 - a script speaks to you
    print(f"{sum(this_year == often)} of {rows} by the rule 'as this year'")  # noqa: T201
    for low, high in itertools.pairwise(BANDS):
        told = (low <= probabilities) & (probabilities < high)
        if told.any():
            print(  # noqa: T201
                f"told {low:.0%} to {high:.0%}: {told.sum()} members, "
                f"expected {probabilities[told].sum():.0f} often, seen {often[told].sum()}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
