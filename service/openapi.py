"""The published OpenAPI document: every path that the front door answers, with its refusals.

Made anew for each request out of the project's name and the champion's metadata, so that names and
examples in it are those of the model that is served. What BentoML answers by itself (pages, health,
`/metrics`) is described on its own page, at `/`.

References
----------
OpenAPI 3.1.0, https://spec.openapis.org/oas/v3.1.0; Open Inference Protocol, version 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import coppice
from service import protocol, tensors

Node: TypeAlias = dict[str, Any]

_REFUSALS = {
    400: "Something in the request is wrong; the text says what, and what to send.",
    404: "Nothing is there: an unknown path, model, version or request id.",
    405: "The path takes another method, named in `Allow`.",
    408: "The body did not arrive within `serve.deadline_seconds`.",
    409: "That request has feedback already.",
    413: "The body is larger than `serve.max_body_bytes`.",
    415: "The body's `Content-Type` or `Content-Encoding` is not understood.",
    429: "Too many requests wait; come again after `Retry-After` seconds.",
    500: "An unforeseen error; the server's log holds it.",
    503: "Not ready to answer; come again after `Retry-After` seconds.",
    504: "No answer within the time of `x-coppice-timeout`.",
    507: "The event log is full, so nothing can be promised.",
}
_WAITS = frozenset({429, 503, 507})

_TEXT: Node = {"type": "string"}
_FLAG: Node = {"type": "boolean"}
_PARAMETERS: Node = {"type": ["object", "null"]}
_DATATYPES: Node = {"type": "string", "enum": list(tensors.NAMES)}
_SIDES: Node = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_NAME: Node = {"type": "string", "maxLength": protocol.MAX_NAME}
_LABEL: Node = {"type": ["integer", "number", "string"]}


def document(name: str, model: Mapping[str, Any] | None) -> Node:
    """Return the document for a project.

    Parameters
    ----------
    name
        The model that is served.
    model
        Its metadata (`service.replies.model`), for examples; `None` while there is no champion.

    Examples
    --------
    >>> sorted(document("tiny", None)["paths"])[:2]
    ['/feedback', '/v1/verdict']
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Coppice: {name}",
            "version": coppice.__version__,
            "description": "Inference by the Open Inference Protocol v2, feedback, and verdicts.",
        },
        "paths": _health() | _models(name, model) | _others(),
        "components": {"schemas": _schemas()},
    }


def _health() -> Node:
    live = _object(live=_FLAG)
    return {
        "/v2": {"get": _operation("serverMetadata", "The server", _ref("Server"))},
        "/v2/health/live": {"get": _operation("serverLive", "Is the server alive?", live)},
        "/v2/health/ready": {
            "get": _operation(
                "serverReady", "Are requests answered?", _object(live=_FLAG, ready=_FLAG), 503
            )
        },
    }


def _models(name: str, model: Mapping[str, Any] | None) -> Node:
    ready = _object(name=_TEXT, ready=_FLAG)
    found: Node = {}
    for version, suffix in (("", ""), ("/versions/{version}", "OfVersion")):
        path = f"/v2/models/{{model}}{version}"
        place = [_in_path("model", {"type": "string", "enum": [name]})]
        if version:
            known = {"enum": list(model["versions"])} if model else {}
            place.append(_in_path("version", {"type": "string", **known}))
        found[path] = {
            "parameters": place,
            "get": _operation(f"model{suffix}", "What it takes and gives", _ref("Model"), 404, 503),
        }
        found[f"{path}/ready"] = {
            "parameters": place,
            "get": _operation(f"modelReady{suffix}", "Does it answer?", ready, 404, 503),
        }
        found[f"{path}/infer"] = {"parameters": place, "post": _infer(f"infer{suffix}", model)}
    return found


def _infer(identity: str, model: Mapping[str, Any] | None) -> Node:
    refusals = (400, 404, 408, 413, 415, 429, 503, 504, 507)
    operation = _operation(identity, "Answer rows", _ref("InferResponse"), *refusals)
    media: Node = {"schema": _ref("InferRequest")}
    if model:
        media["examples"] = {
            "zeros": {"value": {"inputs": [_zeros(one) for one in model["inputs"]]}}
        }
    octets: Node = {"schema": {"type": "string", "format": "binary"}}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": media, "application/octet-stream": octets},
    }
    operation["parameters"] = _said()
    operation["responses"]["200"]["content"]["application/octet-stream"] = octets
    operation["responses"]["200"]["headers"] = {
        "x-coppice-version": {"schema": _TEXT, "description": "Tag of the version that answered."},
        "x-coppice-lane": {"schema": {"type": "string", "enum": ["stable", "canary"]}},
        "x-request-id": {"schema": _TEXT, "description": "Under which feedback is given."},
    }
    return operation


def _zeros(tensor: Mapping[str, Any]) -> Node:
    shape = [1, *tensor["shape"][1:]]
    zero = {tensors.BYTES: "", "BOOL": False}.get(tensor["datatype"], 0)
    return {
        "name": tensor["name"],
        "shape": shape,
        "datatype": tensor["datatype"],
        "data": [zero] * tensors.elements(tensor["name"], shape),
    }


def _said() -> list[Node]:
    """Describe what a request says about itself in headers."""
    described = {
        protocol.HEADER_LENGTH: "Length of the JSON, where binary tensors follow it.",
        "x-request-id": "Under which the answer is stored; one is made where none is sent.",
        "x-coppice-key": "The routing key: the same key stays on the same lane.",
        "x-coppice-slices": "Subsets that the request belongs to: name=value,name=value.",
        "x-coppice-timeout": "Seconds after which the answer is no longer wanted.",
        "x-coppice-lane": "The lane to be answered on, where `serve.allow_forced_lane` is set.",
    }
    return [
        {"name": name, "in": "header", "description": text, "schema": _TEXT}
        for name, text in described.items()
    ]


def _others() -> Node:
    accepted = _object(accepted=_FLAG, request_id=_TEXT)
    refusals = (400, 404, 408, 409, 413, 415, 429, 503, 507)
    feedback = _operation(
        "feedback", "Send the true answer to an earlier request", accepted, *refusals
    )
    feedback["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _ref("Feedback")}},
    }
    verdict = _operation("verdict", "What the monitor thinks of the candidate", _ref("Verdict"))
    verdict["parameters"] = [{"name": "model", "in": "query", "schema": _TEXT}]
    return {"/feedback": {"post": feedback}, "/v1/verdict": {"get": verdict}}


def _operation(identity: str, summary: str, answer: Node, *refusals: int) -> Node:
    answers: Node = {"200": _answer("The answer.", answer)}
    for status in (*refusals, 500):
        answers[str(status)] = _answer(_REFUSALS[status], _ref("Error"))
        if status in _WAITS:
            answers[str(status)]["headers"] = {"retry-after": {"schema": {"type": "integer"}}}
    return {"operationId": identity, "summary": summary, "responses": answers}


def _answer(description: str, schema: Node) -> Node:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _in_path(name: str, schema: Node) -> Node:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Sequence[str] | None = None, **properties: Node) -> Node:
    """Describe an object; all its properties are there unless said otherwise."""
    needed = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": needed}


def _schemas() -> Node:
    tensor = _object(name=_TEXT, datatype=_DATATYPES, shape=_SIDES)
    asked = _object(
        ("name", "shape", "datatype"),
        name=_NAME,
        shape=_SIDES,
        datatype=_DATATYPES,
        parameters=_PARAMETERS,
        data={"type": "array", "description": "Flat, or nested like the shape; row-major."},
    )
    given = _object(
        ("name", "shape", "datatype"),
        name=_TEXT,
        shape=_SIDES,
        datatype=_DATATYPES,
        parameters=_PARAMETERS,
        data={"type": "array"},
    )
    output = _object(("name",), name=_NAME, parameters=_PARAMETERS)
    return {
        "Error": _object(error=_TEXT),
        "Server": _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
        "Model": _object(
            name=_TEXT,
            versions=_list(_TEXT),
            platform=_TEXT,
            inputs=_list(tensor),
            outputs=_list(tensor),
        ),
        "InferRequest": _object(
            ("inputs",),
            id={"type": ["string", "null"]},
            parameters=_PARAMETERS,
            inputs=_list(asked, maxItems=protocol.MAX_TENSORS),
            outputs={**_list(output), "type": ["array", "null"]},
        ),
        "InferResponse": _object(
            model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(given)
        ),
        "Feedback": _feedback(),
        "Verdict": _object(
            verdict={"type": "string", "enum": ["promote", "rollback", "undecided"]},
            reason=_TEXT,
            evidence={"type": "object", "additionalProperties": {"type": "number"}},
            counts={"type": "object", "additionalProperties": {"type": "integer"}},
            label_coverage={"type": "number"},
            version={"type": ["string", "null"]},
        ),
    }


def _list(items: Node, **more: Any) -> Node:
    return {"type": "array", "items": items, **more}


def _feedback() -> Node:
    described = _object(
        ("request_id",),
        request_id=_TEXT,
        label=_LABEL,
        labels=_list(_LABEL),
        source={"type": "string", "enum": ["human", "system", "model-assisted"]},
        annotator={"type": ["string", "null"]},
        saw_prediction=_FLAG,
    )
    one_of = [{"required": ["label"]}, {"required": ["labels"]}]
    return described | {"additionalProperties": False, "oneOf": one_of}
