"""Ways to write a prediction event down: bytes, and processor time to encode and decode.

Each starts from a `records.Prediction` and ends at an equal one, so that turning tensors into lists
and back is part of the price.
"""

from __future__ import annotations

import base64
import functools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import records
from coppice.eventlog import envelope

KIND = "coppice.prediction.v1"
COLUMNS, OUTPUTS = 30, 10
"""Of the small event: a table's row, its monitoring features, the scores of ten classes."""
LARGE = (8, 128)
"""Shape of the large event's input: 4 KiB."""


def record(request_id: str, shape: tuple[int, int] = (1, COLUMNS)) -> records.Prediction:
    """A prediction as the server stores it: inputs, features, scores, and where it came from."""
    values = _values(shape)
    return records.Prediction(
        request_id=request_id,
        model="digits",
        version="digits:0123456789ab",
        lane="stable",
        propensity=0.9,
        key_hash="8f14e45fceea167a5a36dedd4bea2543",
        slices={"site": "north"},
        inputs={"x": records.Tensor.of(values)},
        features=records.Tensor.of(values[:, :12]),
        outputs={"scores": records.Tensor.of(values[:, :OUTPUTS])},
        latency_seconds=0.00123,
        generation=4,
    )


@functools.cache
def _values(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class Encoding(NamedTuple):
    """A contestant: what it makes of a record, and a record of that again."""

    name: str
    encode: Callable[[records.Prediction], Any]
    decode: Callable[[Any], records.Prediction]
    size: Callable[[Any], int] = len


_TO_MSGPACK, _TO_JSON = msgspec.msgpack.Encoder(), msgspec.json.Encoder()
_OF_MSGPACK = msgspec.msgpack.Decoder(records.Prediction)
_OF_JSON = msgspec.json.Decoder(records.Prediction)


def _seal(one: records.Prediction) -> records.Event:
    return records.seal(one, source="coppice/server", now=1_700_000_000.0)


def _unseal(event: records.Event) -> records.Prediction:
    found = records.unseal(event)
    assert isinstance(found, records.Prediction)
    return found


def _event_size(event: records.Event) -> int:
    texts = (event.id, event.type, event.source, event.subject, event.model)
    return sum(map(len, texts)) + 8 + len(event.data)


def _kafka_record(one: records.Prediction) -> tuple[bytes, envelope.Headers, bytes]:
    event = _seal(one)
    return envelope.key(event), envelope.headers(event), event.data


def _of_kafka_record(found: tuple[bytes, envelope.Headers, bytes]) -> records.Prediction:
    return _unseal(envelope.event(found[1], found[2]))


def _kafka_size(found: tuple[bytes, envelope.Headers, bytes]) -> int:
    key, headers, value = found
    return len(key) + len(value) + sum(len(name) + len(content) for name, content in headers)


def _with_tensors(one: records.Prediction, change: Callable[[Any], Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.structs.asdict(one)
    return {
        **plain,
        "inputs": {name: change(tensor) for name, tensor in plain["inputs"].items()},
        "features": change(plain["features"]),
        "outputs": {name: change(tensor) for name, tensor in plain["outputs"].items()},
    }


def _listed(one: records.Prediction) -> dict[str, Any]:
    return _with_tensors(one, lambda tensor: [tensor.dtype, tensor.array().tolist()])


def _of_listed(plain: dict[str, Any]) -> records.Prediction:
    return _with_fields(plain, lambda pair: records.Tensor.of(np.array(pair[1], dtype=pair[0])))


def _texts(one: records.Prediction) -> dict[str, Any]:
    return _with_tensors(
        one,
        lambda tensor: [tensor.dtype, tensor.shape, base64.b64encode(tensor.data).decode()],
    )


def _of_texts(plain: dict[str, Any]) -> records.Prediction:
    return _with_fields(
        plain,
        lambda parts: records.Tensor(parts[0], tuple(parts[1]), base64.b64decode(parts[2])),
    )


def _with_fields(plain: dict[str, Any], change: Callable[[Any], Any]) -> records.Prediction:
    tensors = {
        "inputs": {name: change(found) for name, found in plain["inputs"].items()},
        "features": change(plain["features"]),
        "outputs": {name: change(found) for name, found in plain["outputs"].items()},
    }
    return records.Prediction(**{**plain, **tensors})


OURS = "our event: MessagePack, raw tensors"
ENCODINGS = (
    Encoding(OURS, _seal, _unseal, _event_size),
    Encoding("CloudEvents binary (Kafka)", _kafka_record, _of_kafka_record, _kafka_size),
    Encoding("payload alone, MessagePack, raw tensors", _TO_MSGPACK.encode, _OF_MSGPACK.decode),
    Encoding("payload alone, JSON, base64 (msgspec)", _TO_JSON.encode, _OF_JSON.decode),
    Encoding(
        "payload alone, JSON, base64 (json)",
        lambda one: json.dumps(_texts(one)).encode(),
        lambda found: _of_texts(json.loads(found)),
    ),
    Encoding(
        "payload alone, MessagePack, lists",
        lambda one: _TO_MSGPACK.encode(_listed(one)),
        lambda found: _of_listed(msgspec.msgpack.decode(found)),
    ),
    Encoding(
        "payload alone, JSON, lists (msgspec)",
        lambda one: _TO_JSON.encode(_listed(one)),
        lambda found: _of_listed(msgspec.json.decode(found)),
    ),
    Encoding(
        "payload alone, JSON, lists (json)",
        lambda one: json.dumps(_listed(one)).encode(),
        lambda found: _of_listed(json.loads(found)),
    ),
)


class Cost(NamedTuple):
    """Of one event, in one round."""

    bytes: int
    encode: float
    decode: float


def measure(contestant: Encoding, one: records.Prediction, repeats: int) -> Cost:
    """Encode and decode one record again and again; seconds of the processor for each."""
    written = contestant.encode(one)
    assert contestant.decode(written) == one, contestant.name
    began = time.process_time()
    for _ in range(repeats):
        contestant.encode(one)
    encoded = time.process_time()
    for _ in range(repeats):
        contestant.decode(written)
    decoded = time.process_time()
    return Cost(
        contestant.size(written), (encoded - began) / repeats, (decoded - encoded) / repeats
    )


def row(contestant: Encoding, costs: Sequence[Cost]) -> dict[str, Any]:
    """Medians over the rounds."""
    return {
        "contestant": contestant.name,
        "bytes": costs[0].bytes,
        "encode us": round(1e6 * statistics.median(cost.encode for cost in costs), 1),
        "decode us": round(1e6 * statistics.median(cost.decode for cost in costs), 1),
    }
