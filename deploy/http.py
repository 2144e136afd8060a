"""The controller's doors: verdicts for rollout tools, commands for operators.

================================== ============================================================
GET /v1/verdict                    ?model=&version= : 200 always, no data is `undecided`
POST /flagger/HOOK                 a hook of Flagger; see `deploy.gate.status`
GET /v1/rollouts/MODEL             the state, the routes and the verdict
POST /v1/rollouts/MODEL/ACTION     promote, abort, pause or resume; 409 where it does not fit
POST /alertmanager                 an alert may pause or abort the rollout (`rollout.alerts`)
GET /healthz                       200 while the process is alive
GET /readyz                        200 once this replica of the log was read to its end
GET /metrics                       Prometheus text
================================== ============================================================

Every controller answers, whoever leads: the answers come out of its own replica of the log, by way
of a view that each turn replaces as a whole. What is asked for is appended to that log, and done by
the one that leads. Nothing that is asked for here is done without a token, unless only this machine
can ask.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Literal, Protocol, TypeVar, get_args

import msgspec
import structlog
from starlette import applications, requests, responses, routing

from coppice import clock as clocks
from coppice import errors, pages, records, settings
from coppice.eventlog import base as eventlog_base
from deploy import gate, keys, orders
from deploy.recorder import Recorder

SOURCE = "coppice/deploy/http"
MAX_BODY_BYTES = 2**20
"""What Alertmanager sends for a few hundred alerts; nobody here needs more."""
MAX_TEXT = 1000
UNREAD = "the controller has not read its log, or could not for a while"

_log = structlog.get_logger(__name__)


class Source(Protocol):
    """Where the doors take what they tell."""

    def view(self, max_age: float) -> gate.View | None:
        """Return what the last turn knew; `None` before the first, and where it is older."""
        ...


class Wish(msgspec.Struct, frozen=True):
    """The body of a command; both fields may be left out."""

    actor: str = ""
    reason: str = ""


class Call(msgspec.Struct, frozen=True):
    """What Flagger sends to a hook."""

    name: str
    namespace: str = ""
    phase: str = ""
    metadata: dict[str, str] = {}


class Webhook(msgspec.Struct, frozen=True):
    """What Alertmanager sends, version 4."""

    alerts: list[gate.Alert]


class Doors:
    """Answer whoever asks.

    Parameters
    ----------
    source
        Where the view comes from.
    log
        Where commands are appended.
    tree
        The settings.
    clock
        Where the time comes from.
    recorder
        What `/metrics` shows.
    """

    def __init__(
        self,
        source: Source,
        log: eventlog_base.IndexedLog,
        tree: settings.Settings,
        clock: clocks.Clock,
        recorder: Recorder,
    ) -> None:
        self._source = source
        self._log = log
        self._clock = clock
        self._recorder = recorder
        self._model = tree.project.name
        self._canary = tree.cluster.workload or tree.project.name
        self._alerts: Literal["note", "pause", "abort"] = tree.rollout.alerts
        self._key = keys.Key(tree)

    async def health(self, _: requests.Request) -> responses.Response:
        """Answer while the process is alive."""
        return pages.as_json({"alive": True})

    async def ready(self, _: requests.Request) -> responses.Response:
        """Say whether the log was read to its end once; who leads does not matter."""
        read = self._source.view(float("inf")) is not None
        return pages.as_json({"ready": read}, 200 if read else 503)

    async def metrics(self, _: requests.Request) -> responses.Response:
        """Answer a scrape."""
        return responses.Response(self._recorder.page(), media_type="text/plain; version=0.0.4")

    async def verdict(self, request: requests.Request) -> responses.Response:
        """Say how the candidate stands; never anything but 200."""
        asked = request.query_params.get("model", self._model)
        _, told = self._answer(asked, request.query_params.get("version"))
        plain = msgspec.to_builtins(told)
        # Argo Rollouts looks for one field that holds all of it.
        return pages.as_json({**plain, "data": plain})

    async def state(self, request: requests.Request) -> responses.Response:
        """Tell everything that the last turn knew."""
        self._check_model(request)
        seen = self._source.view(float("inf"))
        _, told = self._answer(self._model, None)
        return pages.as_json(
            {
                "model": self._model,
                "state": None if seen is None else seen.state,
                "routed": None if seen is None else seen.routed,
                "rolled_back": {} if seen is None else seen.dropped,
                "verdict": told,
            }
        )

    async def order(self, request: requests.Request) -> responses.Response:
        """Append a command; whoever leads obeys it."""
        self._key.check(request.headers)
        self._check_model(request)
        action = request.path_params["action"]
        if action not in get_args(records.Action):
            message = f"there is no {action[:40]!r}; a rollout knows promote, abort, pause, resume"
            raise NoSuchDoor(message)
        wish = _read(await _body(request) or b"{}", Wish)
        actor = (wish.actor or request.headers.get("x-coppice-actor", "")).strip()
        if not actor or actor == "coppice" or len(actor) > MAX_TEXT or len(wish.reason) > MAX_TEXT:
            message = "say who asks, in `actor` of the body or in the header X-Coppice-Actor"
            raise errors.RequestError(message)
        command = records.Command(model=self._model, action=action, actor=actor, reason=wish.reason)
        return pages.as_json({"command": await self._give(command), "action": action}, 202)

    async def hook(self, request: requests.Request) -> responses.Response:
        """Answer a hook of Flagger by a status alone."""
        hook = request.path_params["hook"]
        if hook not in get_args(gate.Hook):
            raise NoSuchDoor
        call = _read(await _body(request), Call)
        ours = call.name == self._canary
        if call.metadata.get("model", self._model if ours else None) != self._model:
            message = (
                f"this controller looks after the Canary {self._canary!r}, not {call.name[:80]!r}; "
                f"another one says `model: {self._model}` in the metadata of its webhooks"
            )
            raise errors.UnknownModel(message)
        if hook == "event":
            said = call.metadata.get("eventMessage", "")[:MAX_TEXT]
            _log.info("flagger_event", phase=call.phase[:MAX_TEXT], message=said)
        seen, told = self._answer(self._model, call.metadata.get("version"))
        return pages.as_json(told, gate.status(hook, seen, told))

    async def alerts(self, request: requests.Request) -> responses.Response:
        """Pause or abort for an alert that speaks of the version on trial, where that is wanted."""
        self._key.check(request.headers)
        webhook = _read(await _body(request), Webhook)
        seen = self._source.view(gate.STALE_SECONDS)
        if seen is None:
            # Alertmanager tells again what could not be taken.
            raise errors.NotReady(UNREAD)
        alert = gate.alarm(seen, webhook.alerts)
        if alert is None:
            return pages.as_json({"done": "nothing", "reason": "no alert of this rollout"})
        _log.warning("alert_of_rollout", alert=alert.sentence, wanted=self._alerts)
        command = None if self._alerts == "note" else gate.command(seen, alert, self._alerts)
        if command is None:
            return pages.as_json({"done": "noted", "reason": alert.sentence})
        identity = await self._give(command)
        return pages.as_json({"done": command.action, "command": identity})

    def _answer(self, model: str, version: str | None) -> tuple[gate.View | None, gate.Answer]:
        if model != self._model:
            reason = f"this controller rolls out {self._model!r}, not {model[:80]!r}"
            return None, gate.unknown(model[:80], reason)
        seen = self._source.view(gate.STALE_SECONDS)
        if seen is None:
            return None, gate.unknown(model, UNREAD)
        return seen, gate.answer(seen, version)

    def _check_model(self, request: requests.Request) -> None:
        asked = request.path_params["model"]
        if asked != self._model:
            message = f"this controller rolls out {self._model!r}, not {asked[:80]!r}"
            raise errors.UnknownModel(message)

    async def _give(self, command: records.Command) -> str:
        # The log waits for the disk, and other questions must not.
        return await asyncio.to_thread(
            orders.give, self._log, command, source=SOURCE, clock=self._clock
        )


class NoSuchDoor(errors.RequestError):
    """There is nothing at this path. The reference lists the controller's doors."""

    http_status = 404


def app(doors: Doors) -> applications.Starlette:
    """Build the application."""
    made = applications.Starlette(
        routes=[
            routing.Route("/healthz", doors.health),
            routing.Route("/readyz", doors.ready),
            routing.Route("/metrics", doors.metrics),
            routing.Route("/v1/verdict", doors.verdict),
            routing.Route("/v1/rollouts/{model}", doors.state),
            routing.Route("/v1/rollouts/{model}/{action}", doors.order, methods=["POST"]),
            routing.Route("/flagger/{hook}", doors.hook, methods=["POST"]),
            routing.Route("/alertmanager", doors.alerts, methods=["POST"]),
        ],
        exception_handlers={errors.CoppiceError: _refused},
    )
    # A tool that follows a redirect would get another door's answer.
    made.router.redirect_slashes = False
    return made


@contextlib.contextmanager
def opened(doors: Doors, chosen: settings.RolloutSettings) -> Iterator[int | None]:
    """Serve the doors from a thread while the block runs; yields the port, `None` without one.

    Raises
    ------
    EnvironmentProblem
        The port is taken or the address is not this machine's.
    """
    if not chosen.port:
        yield None
        return
    with pages.served(app(doors), chosen.host, chosen.port, table="rollout") as port:
        yield port


async def _refused(_: requests.Request, cause: Exception) -> responses.Response:
    status = cause.http_status if isinstance(cause, errors.CoppiceError) else 500
    refusal = pages.as_json({"error": str(cause)}, status)
    if status == errors.Unauthorized.http_status:
        refusal.headers["www-authenticate"] = "Bearer"
    return refusal


T = TypeVar("T")


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as cause:
        message = f"the body is not what this door takes: {cause}"
        raise errors.RequestError(message) from cause


async def _body(request: requests.Request) -> bytes:
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > MAX_BODY_BYTES:
            message = f"the body has more than {MAX_BODY_BYTES} bytes"
            raise errors.BodyTooLarge(message)
    return bytes(read)
