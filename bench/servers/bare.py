"""The bound: an ASGI application that parses nothing, runs the same graph and answers raw bytes.

Usage: `python bare.py MODEL PORT`. Whatever an inference server in Python does more than this, for
one request after the other, comes on top.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import session
import uvicorn


class Bare:
    """Read the body, run the graph on it, send the scores."""

    def __init__(self, model: str) -> None:
        self._run = session.runner(model)
        self._shape = session.shape(model)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = (await receive())["body"]
        scores = self._run(np.frombuffer(body, dtype=np.float32).reshape(self._shape))
        answer = scores.tobytes()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(Bare(sys.argv[1]), port=int(sys.argv[2]), lifespan="off", **session.UVICORN)
