"""LitServe, batching what is there. Usage: `python litserve_api.py MODEL PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
import session


class Api(litserve.LitAPI):
    """Answers with the scores; the shape travels beside the numbers."""

    def __init__(self, model: str) -> None:
        super().__init__(max_batch_size=64, batch_timeout=0.0)
        self._model = model

    def setup(self, device: str) -> None:
        del device
        self._run = session.runner(self._model)
        self._shape = session.shape(self._model)[1:]

    def decode_request(self, request):  # noqa: ANN001, ANN201 - LitServe reads the annotation
        return np.array(request["data"], dtype=np.float32).reshape(self._shape)

    def predict(self, x: Any) -> Any:
        return self._run(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"scores": output.tolist(), "label": int(output.argmax())}


if __name__ == "__main__":
    served = litserve.LitServer(Api(sys.argv[1]), accelerator="cpu", workers_per_device=1)
    served.run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, access_log=False
    )
