"""Events as the planes write them, with as little as a test needs to say."""

from __future__ import annotations

import msgspec
import numpy as np

from coppice import records

MODEL = "digits"
VERSION = "digits:0123456789ab"
NOW = 1_700_000_000.0


def prediction(request_id: str = "request-1", *, model: str = MODEL) -> records.Event:
    """Seal a prediction of one row that class 1 won."""
    record = records.Prediction(
        request_id=request_id,
        model=model,
        version=VERSION,
        lane="stable",
        propensity=1.0,
        key_hash="hash",
        outputs={"scores": records.Tensor.of(np.array([[0.25, 0.75]], dtype=np.float32))},
        latency_seconds=0.001,
    )
    return records.seal(record, source="tests", now=NOW)


def feedback(request_id: str = "request-1", *, model: str = MODEL) -> records.Event:
    """Seal the label 1 for a request."""
    record = records.Feedback(request_id=request_id, model=model, labels=(1,), labelled_at=NOW)
    return records.seal(record, source="tests", now=NOW)


def command(action: records.Action = "pause", *, model: str = MODEL) -> records.Event:
    """Seal an operator's command."""
    record = records.Command(model=model, action=action, actor="ada")
    return records.seal(record, source="tests", now=NOW)


def padded(event: records.Event, size: int) -> records.Event:
    """Return the event with `size` bytes of payload that nobody can decode."""
    return msgspec.structs.replace(event, data=bytes(size))
