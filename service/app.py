"""The BentoML service: the front door, the typed `/predict`, and the life of the data plane.

Called by `bentoml serve service.app:Coppice` (see `service.serve`); finds its project through the
environment variable COPPICE_PROJECT. BentoML keeps its pages, health endpoints, `/metrics`, workers
and bentos; the data path passes in front of it, because its typed API costs seventeen times more
per request than the rest of the way.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import bentoml
import numpy as np
import structlog
from _bentoml_sdk import Service
from starlette import responses

from coppice import artifact, errors, settings, telemetry
from service import admission, compose, engine, front, http, recorder, wire, workers

if TYPE_CHECKING:
    from service import remote, tracing

PROJECT = "COPPICE_PROJECT"
ORPHAN_SECONDS = 0.5
FIRST_LOAD_SECONDS = 10.0
"""A worker takes no connections before its versions are in memory, or so long has passed."""

_LOG = structlog.get_logger()


class Typed:
    """Coppice: pruned models, kept healthy in production.

    POST `/predict` with inputs by name. The data path of programs is `/v2`, the Open Inference
    Protocol; labels go to `/feedback`.
    """

    bento_service: FrontDoor
    """Set by BentoML on each instance."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def open(self) -> None:
        """Open the data plane on the worker's event loop."""
        telemetry.silence()
        telemetry.configure("service")
        tree = settings.load(Path(os.environ.get(PROJECT, ".")))
        await self.bento_service.open(tree)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Drain: commit everything that was asked."""
        await self.bento_service.close()

    async def __is_ready__(self) -> bool:
        """Say whether requests are answered; shown by BentoML's `/readyz`."""
        plane = self.bento_service.plane
        return plane is not None and plane.ready

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(
        self,
        inputs: dict[str, Any],
        request_id: str = "",
        key: str = "",
        slices: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Answer rows given as nested lists by input name.

        Parameters
        ----------
        inputs
            For each input its rows, e.g. `{"x": [[0.1, 0.2], [0.3, 0.4]]}`.
        request_id
            Under which the answer is stored and feedback is given; one is made where none is sent.
        key
            The routing key: the same key stays on the same lane.
        slices
            Names of the subsets that the request belongs to, e.g. `{"pen": "ink"}`.
        """
        try:
            served = await self._engine().infer(self._query(inputs, request_id, key, slices))
        except errors.CoppiceError as cause:
            refused = http.as_error(cause)
            plain = {name.decode(): value.decode() for name, value in refused.headers}
            response = responses.Response(refused.body, refused.status, plain)
            # BentoML passes a response on as it is; its own errors would hide the text.
            return cast("dict[str, Any]", response)
        return _friendly(served)

    def _engine(self) -> engine.Engine:
        if self.bento_service.plane is None:
            raise errors.NotReady
        return self.bento_service.plane.engine

    def _query(
        self, inputs: dict[str, Any], request_id: str, key: str, slices: dict[str, str] | None
    ) -> admission.Query:
        plane = self.bento_service.plane
        if plane is None:
            raise errors.NotReady
        manifest = plane.switchboard.in_force().champion.manifest
        claims = admission.Claims(request_id or None, key or None, slices)
        return admission.admit({}, claims, as_arrays(inputs, manifest))


def as_arrays(inputs: dict[str, Any], manifest: artifact.Manifest) -> dict[str, Any]:
    """Turn nested lists into arrays of the dtypes that the model takes.

    Raises
    ------
    RequestError
        A list is ragged, or an element is no number of that dtype.
    """
    dtypes = {spec.name: np.dtype(spec.dtype) for spec in manifest.inputs}
    found: dict[str, Any] = {}
    for name, rows in inputs.items():
        try:
            array = np.asarray(rows)
            found[name] = _converted(array, dtypes.get(name, array.dtype))
        except (ValueError, TypeError, OverflowError) as cause:
            message = f"input {name!r} does not become {dtypes.get(name)}: {cause}"
            raise errors.RequestError(message) from cause
    return found


_TAKES = {"f": "iuf", "V": "iuf", "i": "iu", "u": "iu", "b": "b", "O": "U"}
"""Kinds of elements that become a kind of dtype; a text never becomes a number."""


def _converted(array: Any, dtype: np.dtype[Any]) -> Any:
    if array.dtype.kind not in _TAKES.get(dtype.kind, ""):
        message = f"its elements are {array.dtype}"
        raise TypeError(message)
    if dtype.kind == "O":
        return array.astype(object)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
        converted = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(converted, array):
        message = "an element is out of its range"
        raise OverflowError(message)
    return converted


def _friendly(served: engine.Served) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "request_id": served.request_id,
        "version": served.version.tag,
        "lane": served.lane,
        "scores": served.scores.tolist(),
    }
    if served.label is not None:
        classes = served.version.manifest.classes
        answer["label"] = served.label.tolist()
        answer["class"] = [classes[index] for index in served.label]
    return answer


class FrontDoor(Service[Typed]):  # type: ignore[misc]
    """BentoML's service with our data path in front of its application."""

    plane: compose.Plane | None = None
    _orphan_guard: asyncio.Task[None] | None = None
    _presence: workers.Presence | None = None
    _tracing: tracing.Tracing | None = None
    _remote: remote.Remote | None = None

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - BentoML's signature
        """Return the application that a worker serves."""
        inner = super().to_asgi(is_main=is_main)
        folder = os.environ.get(workers.FOLDER)
        swept = inner if folder is None else workers.Swept(inner, Path(folder))
        door = front.Front(swept, lambda: self.plane)
        traced = telemetry.traced(os.environ)
        wire.install(None if traced else door)  # a span begins with a scope
        if not traced:
            return door
        from service import tracing  # an extra: the server answers without it

        self._tracing = tracing.Tracing()
        return self._tracing.around(door)

    async def open(self, tree: settings.Settings) -> None:
        """Open the data plane; called on the event loop of a worker, before it takes requests."""
        loop = asyncio.get_running_loop()
        folder = os.environ.get(workers.FOLDER)
        if folder is not None:
            self._presence = workers.Presence(Path(folder))
        ways = compose.PLAIN if self._tracing is None else self._tracing.ways()
        self.plane = compose.Plane(tree, loop=loop, metrics=recorder.Recorder(), ways=ways)
        self._orphan_guard = loop.create_task(_end_with(os.getppid()))
        # Else a worker that is started anew would refuse what the others could have answered.
        await asyncio.to_thread(self.plane.switchboard.tried.wait, FIRST_LOAD_SECONDS)
        # What the start left behind is never garbage. A full collection would walk all of it, which
        # holds up every answer for a tenth of a second.
        gc.collect()
        gc.freeze()
        if tree.serve.grpc_port is not None:
            from service import remote  # an extra: HTTP serves without it

            self._remote = remote.Remote(self.plane)
            await self._remote.start(tree.serve.host, tree.serve.grpc_port)

    async def close(self) -> None:
        """Drain the data plane."""
        if self._orphan_guard is not None:
            self._orphan_guard.cancel()
        if self._remote is not None:
            await self._remote.stop(compose.DRAIN_SECONDS)
        if self.plane is not None:
            self.plane.close()
            self.plane = None
        if self._tracing is not None:
            self._tracing.close()
        if self._presence is not None:
            self._presence.close()


async def _end_with(parent: int) -> None:
    """Drain once the process that started this one is gone, else its port would stay taken."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells a child of its parent's end
        await asyncio.sleep(ORPHAN_SECONDS)
    _LOG.warning("the process that started this worker is gone; draining")
    os.kill(os.getpid(), signal.SIGTERM)


Coppice = FrontDoor(config={"workers": 1}, inner=Typed, name="coppice")
