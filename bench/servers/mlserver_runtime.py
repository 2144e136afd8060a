"""A runtime for MLServer: the Open Inference Protocol, in the process that speaks HTTP."""

from __future__ import annotations

from typing import Any

import mlserver
import session
from mlserver import codecs


class Onnx(mlserver.MLModel):  # type: ignore[misc]
    """Runs the graph at the settings' `uri`."""

    async def load(self) -> bool:
        self._run = session.runner(self.settings.parameters.uri)
        return True

    async def predict(self, payload: Any) -> Any:
        batch = self.decode(payload.inputs[0], default_codec=codecs.NumpyCodec)
        outputs = [codecs.NumpyCodec.encode_output("scores", self._run(batch))]
        return mlserver.types.InferenceResponse(model_name=self.name, outputs=outputs)
