"""FastAPI and ONNX Runtime, as a competent user writes it: `/json` and `/raw`.

Usage: `python fastapi_doors.py MODEL PORT`. Inference takes less than a hop to a thread pool, so
the doors are `async def`.
"""

from __future__ import annotations

import sys

import fastapi
import numpy as np
import orjson
import pydantic
import session
import uvicorn
from fastapi import responses


class Ask(pydantic.BaseModel):
    """Rows as nested lists, in the shape that the model takes."""

    shape: list[int]
    data: list[float]


def build(model: str) -> fastapi.FastAPI:
    """Put the application together."""
    app = fastapi.FastAPI(default_response_class=responses.ORJSONResponse)
    run, shape = session.runner(model), session.shape(model)

    @app.post("/json")
    async def json(ask: Ask) -> responses.ORJSONResponse:
        scores = run(np.array(ask.data, dtype=np.float32).reshape(ask.shape))
        return responses.ORJSONResponse(
            {"scores": scores.tolist(), "label": scores.argmax(axis=1).tolist()}
        )

    @app.post("/raw")
    async def raw(request: fastapi.Request) -> fastapi.Response:
        scores = run(np.frombuffer(await request.body(), dtype=np.float32).reshape(shape))
        return fastapi.Response(scores.tobytes(), media_type="application/octet-stream")

    return app


if __name__ == "__main__":
    assert orjson  # the response class needs it, and would say so only at the first request
    uvicorn.run(build(sys.argv[1]), port=int(sys.argv[2]), **session.UVICORN)
