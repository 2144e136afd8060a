"""BentoML's typed API, plain and batchable, as its documentation shows it. Access log off."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import numpy as np
import session
from bentoml import validators

Batch = Annotated[np.ndarray, validators.DType("float32")]


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Typed:
    """One model, two doors."""

    def __init__(self) -> None:
        self._run = session.runner(os.environ["BENCH_MODEL"])

    @bentoml.api
    def plain(self, x: Batch) -> np.ndarray:
        return self._run(x)

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=50)
    def batchable(self, x: Batch) -> np.ndarray:
        return self._run(x)
