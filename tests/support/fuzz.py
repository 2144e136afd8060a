"""Attacks on a server: requests made up from its published document, and bodies that lie."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service import tensors

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
"""What each answer has to fulfil. Data that fit the document may be refused all the same: which
tensors a model takes is more than a document can say."""


def from_document(
    url: str, folder: Path, *, seconds: int, examples: int, seed: int = 1
) -> subprocess.CompletedProcess[str]:
    """Let Schemathesis attack what a server publishes; its report is in the output.

    Parameters
    ----------
    url
        The server.
    folder
        Where it may leave files.
    seconds
        After so long it makes up no further requests.
    examples
        How many requests it makes up for each operation and way of making them up.
    seed
        Of its generator.
    """
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        *(str(program), "run", f"{url}/openapi.json", "--no-color"),
        *("--checks", ",".join(CHECKS), "--max-time", str(seconds)),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
        *("--request-timeout", "10", "--no-shrink", "--generation-database", "none"),
        *("--warnings", "off"),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def bodies(count: int, seed: int) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Make up inference requests that are nearly right: headers and lengths that lie.

    Each is a whole request of one or more binary or JSON tensors, in which one to three things
    were changed.
    """
    draw = random.Random(seed)
    for _ in range(count):
        request = _request(draw)
        for _ in range(draw.randint(1, 3)):
            draw.choice(_CHANGES)(request, draw)
        yield _wire(request)


def _request(draw: random.Random) -> dict[str, Any]:
    kinds = [draw.choice(tensors.NAMES) for _ in range(draw.randint(1, 3))]
    inputs = [
        {
            "name": draw.choice(["x", "y", f"t{place}"]),
            "shape": [draw.randint(0, 3), 4],
            "datatype": "FP32" if draw.random() < 0.5 else kind,
        }
        for place, kind in enumerate(kinds)
    ]
    binary = draw.random() < 0.7
    raw = b""
    for one in inputs:
        size = draw.choice([0, 4, 16, 32, 48])
        if binary:
            one["parameters"] = {"binary_data_size": size}
            raw += bytes(draw.randrange(256) for _ in range(size))
        else:
            one["data"] = [draw.choice([0, 1.5, -1, True, "a"])] * (size // 4)
    return {"body": {"inputs": inputs}, "raw": raw, "headers": {}, "lie": 0}


def _wire(request: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    head = request.get("text") or json.dumps(request["body"]).encode()
    length = {"inference-header-content-length": str(len(head) + request["lie"])}
    headers = {**(length if request["raw"] else {}), **request["headers"]}
    return head + request["raw"], headers


def _shape(request: dict[str, Any], draw: random.Random) -> None:
    sides = [-1, 0, 1, 2**31, 2**40, 2**63, 2**64, 10**300, 1.5, None, "4"]
    shape = [draw.choice(sides) for _ in range(draw.choice([0, 1, 2, 3, 8, 9, 200]))]
    draw.choice(request["body"]["inputs"])["shape"] = shape


def _size(request: dict[str, Any], draw: random.Random) -> None:
    sizes = [-1, 0, 2**31, 2**64, 1e308, None, True, "16", [], {}]
    draw.choice(request["body"]["inputs"])["parameters"] = {"binary_data_size": draw.choice(sizes)}


def _lie(request: dict[str, Any], draw: random.Random) -> None:
    request["lie"] = draw.choice([-100_000, -1, 1, 7, 100_000, 10**30])


def _header(request: dict[str, Any], draw: random.Random) -> None:
    name = draw.choice(
        [
            *("inference-header-content-length", "content-encoding", "content-type"),
            *("x-coppice-slices", "x-coppice-key", "x-request-id", "x-coppice-lane"),
            "accept-encoding",
        ]
    )
    values = ["", "-1", "+1", "1e3", "9" * 400, "\xff\xfe", "gzip", "deflate", "a=b,=,c", "%00"]
    request["headers"][name] = draw.choice(values)


def _texts(request: dict[str, Any], draw: random.Random) -> None:
    one = draw.choice(request["body"]["inputs"])
    one["datatype"] = "BYTES"
    lengths = [0, 1, 4, 5, 2**31, 2**32 - 1]
    raw = b"".join(
        struct.pack("<I", draw.choice(lengths)) + b"\xff\xc3\x28a"[: draw.randint(0, 4)]
        for _ in range(3)
    )
    one["parameters"] = {"binary_data_size": len(raw)}
    request["raw"] = raw


def _deep(request: dict[str, Any], draw: random.Random) -> None:
    depth = draw.choice([9, 100, 1000, 20_000])
    inner = draw.choice([b"1", b"", b'"a"', b"{", b"NaN", b"-Infinity", b"1e999", b'"\\ud800"'])
    nested = b"[" * depth + inner + b"]" * draw.choice([depth, depth - 1])
    head = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": '
    request["text"] = head + nested + b"}]}"


def _bytes(request: dict[str, Any], draw: random.Random) -> None:
    text = bytearray(json.dumps(request["body"]).encode())
    for _ in range(draw.randint(1, 8)):
        text[draw.randrange(len(text))] = draw.randrange(256)
    request["text"] = bytes(text)


def _twice(request: dict[str, Any], draw: random.Random) -> None:
    text = json.dumps(request["body"])
    key = draw.choice(['"inputs": []', '"inputs": null', '"id": 1', '"parameters": {"a": {}}'])
    request["text"] = ("{" + key + ", " + text[1:]).encode()


def _outputs(request: dict[str, Any], draw: random.Random) -> None:
    names = ["scores", "label", "label", "é" * 300, "", "nothing"]
    flags = [True, False, "yes", None, 3, {}]
    said = ["binary_data", "classification", "shared_memory_region", "other"]
    request["body"]["outputs"] = [
        {"name": draw.choice(names), "parameters": {draw.choice(said): draw.choice(flags)}}
        for _ in range(draw.randint(0, 3))
    ]


_CHANGES = (_shape, _size, _lie, _header, _texts, _deep, _bytes, _twice, _outputs)
