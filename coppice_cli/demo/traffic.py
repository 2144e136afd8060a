"""The clients of the demo: they send scans over HTTP, and tell the truth later when asked.

Called by: `coppice_cli.demo.app`, which changes `Traffic.world` while it runs.
Takes: the endpoint, the monitor's label queue, and scans with their true digits.
Gives: a `Tally` of what was sent and answered, and a timeline for the report.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import itertools
import threading
import time

import httpx
import numpy as np
import numpy.typing as npt

from coppice_cli.demo import world as worlds

REMEMBERED = 200_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the loop listens, and the model's name."""

    server: str
    monitor: str
    model: str
    input_name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast clients send, and how much truth comes by itself."""

    requests_per_second: float = 100.0
    clients: int = 4
    natural_labels: float = 0.2
    """Share of the requests whose label arrives unasked."""
    label_delay_seconds: float = 0.7


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """One answer, as the client saw it."""

    at: float
    version: str
    lane: str
    right: bool
    medium: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """Running totals."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    natural_labels: int = 0
    asked_labels: int = 0


class Traffic:
    """A thread of asynchronous clients; start it, change `world`, stop it."""

    def __init__(
        self,
        endpoints: Endpoints,
        scans: worlds.Pixels,
        digits: npt.NDArray[np.int64],
        pace: Pace,
    ) -> None:
        self.world = worlds.World()
        self.timeline: list[Answered] = []
        self.acknowledged: list[str] = []
        self.problems: collections.Counter[str] = collections.Counter()
        self._endpoints = endpoints
        self.scans = scans
        self._digits = digits
        self._pace = pace
        self._truth: collections.OrderedDict[str, int] = collections.OrderedDict()
        self._labelled: set[str] = set()
        self._counts: collections.Counter[str] = collections.Counter()
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests under way and stop sending."""
        self._stop.set()
        self._thread.join(timeout=30)

    def tally(self) -> Tally:
        """Return the totals so far."""
        return Tally(
            **{field.name: self._counts[field.name] for field in dataclasses.fields(Tally)}
        )

    def accuracy(self, last: int = 300) -> float:
        """Return the share of right answers among the last ones, or NaN before the first."""
        recent = self.timeline[-last:]
        return sum(answer.right for answer in recent) / len(recent) if recent else float("nan")

    def _run(self) -> None:
        asyncio.run(self._clients())

    async def _clients(self) -> None:
        limits = httpx.Limits(max_connections=self._pace.clients + 4)
        async with httpx.AsyncClient(timeout=15.0, limits=limits) as http:
            senders = [self._sender(http) for _ in range(self._pace.clients)]
            await asyncio.gather(*senders, self._labeller(http))

    async def _sender(self, http: httpx.AsyncClient) -> None:
        pause = self._pace.clients / self._pace.requests_per_second
        due = time.monotonic()
        while not self._stop.is_set():
            await self._send(http, next(self._numbers))
            due = max(due + pause, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, http: httpx.AsyncClient, number: int) -> None:
        scan = worlds.scan(self.world, self.scans, self._digits, seed=number)
        request_id = f"scan-{number:07d}"
        tensor = {
            "name": self._endpoints.input_name,
            "shape": [1, *scan.pixels.shape],
            "datatype": "FP32",
            "data": scan.pixels.ravel().tolist(),
        }
        url = f"{self._endpoints.server}/v2/models/{self._endpoints.model}/infer"
        headers = {"x-coppice-slices": f"medium={scan.medium}"}
        self._remember(request_id, scan.digit)
        self._counts["sent"] += 1
        try:
            reply = await http.post(
                url, json={"id": request_id, "inputs": [tensor]}, headers=headers
            )
        except httpx.HTTPError as problem:
            self._failed(type(problem).__name__)
            return
        if reply.status_code != httpx.codes.OK:
            self._failed(f"HTTP {reply.status_code}")
            return
        self._answered(request_id, scan, reply)
        if np.random.default_rng(number).random() < self._pace.natural_labels:
            await self._label_later(http, request_id)

    def _remember(self, request_id: str, digit: int) -> None:
        self._truth[request_id] = digit
        if len(self._truth) > REMEMBERED:
            self._truth.popitem(last=False)

    def _failed(self, why: str) -> None:
        self._counts["failed"] += 1
        self.problems[why] += 1

    def _answered(self, request_id: str, scan: worlds.Scan, reply: httpx.Response) -> None:
        outputs = {output["name"]: output["data"] for output in reply.json()["outputs"]}
        self._counts["answered"] += 1
        self.acknowledged.append(request_id)
        self.timeline.append(
            Answered(
                at=time.time(),
                version=reply.headers["x-coppice-version"],
                lane=reply.headers["x-coppice-lane"],
                right=outputs["label"][0] == scan.digit,
                medium=scan.medium,
            )
        )

    async def _label_later(self, http: httpx.AsyncClient, request_id: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(
            self._pace.label_delay_seconds,
            lambda: asyncio.ensure_future(self._label(http, request_id, "natural_labels")),
        )

    async def _label(self, http: httpx.AsyncClient, request_id: str, kind: str) -> None:
        if request_id in self._labelled or self._stop.is_set():
            return
        self._labelled.add(request_id)
        body = {"request_id": request_id, "label": self._truth[request_id], "source": "human"}
        try:
            reply = await http.post(f"{self._endpoints.server}/feedback", json=body)
        except httpx.HTTPError as problem:
            self.problems[f"feedback: {type(problem).__name__}"] += 1
            return
        if reply.status_code == httpx.codes.OK:
            self._counts[kind] += 1
        else:
            self.problems[f"feedback: HTTP {reply.status_code}"] += 1

    async def _labeller(self, http: httpx.AsyncClient) -> None:
        """Answer the monitor's label queue, as a labelling team would."""
        url = f"{self._endpoints.monitor}/v1/labels/wanted"
        query = {"model": self._endpoints.model, "limit": "50"}
        while not self._stop.is_set():
            await asyncio.sleep(self._pace.label_delay_seconds)
            try:
                wanted = (await http.get(url, params=query)).json()
            except (httpx.HTTPError, ValueError):
                continue
            for row in wanted["wanted"]:
                if row["request_id"] in self._truth:
                    await self._label(http, row["request_id"], "asked_labels")
