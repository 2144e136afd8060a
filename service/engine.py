"""The engine: from an admitted request to a committed answer.

Called by both doors, `/v2` (service.front) and `/predict` (service.app), on the event loop; takes a
`Query`, gives a `Served`. Route, answer on the lane, commit, mirror: nothing else happens on the
way, and only the commit is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import structlog

from coppice import artifact, clock, errors, records, runtime, settings
from service import admission, batcher, capture, lanes, outbox, recorder, router, shadow, versions

_LOG = structlog.get_logger()

MAX_REASON = 500
"""Characters of an error's text that are kept in an event."""

_NEVER = "the candidate is not in memory"


class Served(NamedTuple):
    """A committed answer."""

    request_id: str
    version: versions.Version
    lane: records.Lane
    scores: runtime.Floats
    label: npt.NDArray[np.int64] | None
    """The class with the largest score [rows]; `None` for a regression."""


class Fallback(NamedTuple):
    """Why the candidate did not answer, and which version that was."""

    reason: str
    version: str


class Reply(NamedTuple):
    """What a lane came to, before it is committed."""

    version: versions.Version
    choice: router.Choice
    answers: runtime.Answers
    fallback: Fallback | None = None


class TimeoutPassed(errors.RequestError):
    """There was no answer within the time that the client allows. Allow more, or try again."""

    http_status = 504


class Parts(NamedTuple):
    """What an engine is put together from."""

    tree: settings.Settings
    switchboard: lanes.Switchboard
    outbox: outbox.Outbox
    metrics: recorder.Recorder
    clock: clock.Clock
    loop: asyncio.AbstractEventLoop
    source: str


class Engine:
    """Routes, answers, commits and mirrors.

    Parameters
    ----------
    parts
        The lanes, the outbox, and what observes them.
    """

    def __init__(self, parts: Parts) -> None:
        serve = parts.tree.serve
        self._serve = serve
        self._policy = parts.tree.events.capture
        self._secret = serve.routing_key_secret.get_secret_value()
        self._switchboard = parts.switchboard
        self._outbox = parts.outbox
        self._metrics = parts.metrics
        self._clock = parts.clock
        self._source = parts.source
        self._loop = parts.loop
        self._in_flight = 0
        self._turns = False
        self._stable_deadline = batcher.Deadlines(parts.loop, serve.deadline_seconds)
        self._canary_deadline = batcher.Deadlines(parts.loop, serve.candidate_timeout_seconds)
        self._shadows = shadow.Shadows(
            parts.outbox,
            limits=batcher.Limits(serve.max_batch_rows, serve.shadow_queue),
            busy=lambda: self._in_flight > 0,
            source=parts.source,
            metrics=parts.metrics,
            time=parts.clock,
        )

    async def infer(self, query: admission.Query) -> Served:
        """Answer a request; its event is committed when this returns.

        Raises
        ------
        RequestError
            The inputs do not fit the model, or the request cannot be taken at this moment.
        EventLogError
            The answer could not be stored, so it is not given.
        """
        began = self._clock.monotonic()
        in_force = self._switchboard.in_force()
        rows = artifact.check_inputs(in_force.champion.manifest, query.inputs)
        choice = self._choose(in_force, query)
        if not self._turns:
            self._turns = True
            self._loop.call_soon(self._turn, in_force)
        self._in_flight += 1
        try:
            replying = self._reply(in_force, choice, query, rows)
            if query.timeout is None:
                reply = await replying
            else:
                # In a task, because `asyncio.timeout` needs one, and who asks may have none.
                reply = await self._loop.create_task(_in_time(replying, query.timeout))
            seconds = self._clock.monotonic() - began
            await self._commit(self._record(query, reply, seconds, in_force.table.generation))
        except (errors.ArtifactError, errors.NotReady) as cause:
            await self._commit_failure(in_force, query, cause, self._clock.monotonic() - began)
            raise
        finally:
            self._in_flight -= 1
        self._metrics.answered(reply.choice.lane, reply.version.tag, seconds)
        self._mirror(in_force, query, reply, rows)
        scores = reply.answers.scores
        label = scores.argmax(axis=1) if scores.ndim == 2 else None
        return Served(query.request_id, reply.version, reply.choice.lane, scores, label)

    def _turn(self, in_force: lanes.Lanes) -> None:
        """Answer what came up in a turn of the event loop, and commit it, in one go.

        Models and log would have their turns anyway; so both lanes' answers share a commit, and
        nothing is read in between that would wait for the next.
        """
        self._turns = False
        for version in (in_force.champion, in_force.candidate):
            if version is not None:
                version.batcher.hand_over()
        self._outbox.hand_over()

    def _choose(self, in_force: lanes.Lanes, query: admission.Query) -> router.Choice:
        open_ = self._switchboard.open()
        lane = query.lane
        if query.version is not None:
            lane = in_force.lane_of(query.version)
            if lane is None:
                message = (
                    f"version {query.version[:80]!r} is not served here; champion: "
                    f"{in_force.table.champion}, candidate: {in_force.table.candidate}"
                )
                raise errors.UnknownVersion(message)
            if lane == "stable":
                return router.STABLE
        if lane is not None:
            return router.forced(lane, allowed=self._serve.allow_forced_lane, open_=open_)
        return router.choose(in_force.table, query.key, secret=self._secret, open_=open_)

    async def _reply(
        self, in_force: lanes.Lanes, choice: router.Choice, query: admission.Query, rows: int
    ) -> Reply:
        if choice.lane == "stable":
            return await self._stable(in_force, choice, query, rows)
        tag = in_force.table.candidate or ""
        candidate = in_force.candidate
        try:
            if candidate is None:
                raise errors.NotReady(_NEVER)
            waiting = candidate.batcher.submit(query.inputs, rows)
            self._canary_deadline.watch(waiting)
            answers = await waiting
        except (errors.CoppiceError, TimeoutError) as cause:
            return await self._fall_back(
                choice, query, rows, Fallback(str(cause)[:MAX_REASON], tag)
            )
        self._switchboard.guard.succeeded(tag)
        return Reply(candidate, choice, answers)

    async def _fall_back(
        self, choice: router.Choice, query: admission.Query, rows: int, fallback: Fallback
    ) -> Reply:
        # The lanes may have been flipped while the candidate was tried.
        in_force = self._switchboard.in_force()
        reply = await self._stable(in_force, choice._replace(lane="stable"), query, rows)
        # Only now, because what stable cannot answer either is no fault of the candidate.
        self._switchboard.candidate_failed(fallback.version)
        self._metrics.fallback(fallback.version)
        return reply._replace(fallback=fallback)

    async def _stable(
        self, in_force: lanes.Lanes, choice: router.Choice, query: admission.Query, rows: int
    ) -> Reply:
        waiting = in_force.champion.batcher.submit(query.inputs, rows)
        self._stable_deadline.watch(waiting)
        try:
            answers = await waiting
        except TimeoutError as cause:
            message = f"no answer within serve.deadline_seconds: {cause}; try again"
            raise errors.NotReady(message) from cause
        return Reply(in_force.champion, choice, answers)

    def _record(
        self, query: admission.Query, reply: Reply, seconds: float, generation: int
    ) -> records.Prediction:
        features = reply.answers.features
        fallback = reply.fallback
        return records.Prediction(
            request_id=query.request_id,
            model=reply.version.manifest.name,
            version=reply.version.tag,
            lane=reply.choice.lane,
            propensity=reply.choice.propensity,
            key_hash=router.key_hash(query.key, secret=self._secret),
            slices=query.slices,
            inputs=capture.capture(query.inputs, self._policy, secret=self._secret),
            features=records.Tensor.of(features) if features.size else None,
            outputs={"scores": records.Tensor.of(reply.answers.scores)},
            latency_seconds=seconds,
            generation=generation,
            fallback=fallback.reason if fallback else None,
            fallback_version=fallback.version if fallback else None,
        )

    def _commit(self, record: records.Prediction) -> asyncio.Future[None]:
        event = records.seal(record, source=self._source, now=self._clock.now())
        return self._outbox.commit(event)

    async def _commit_failure(
        self, in_force: lanes.Lanes, query: admission.Query, cause: Exception, seconds: float
    ) -> None:
        """Store that the champion failed; the client is told whether that succeeds or not."""
        record = records.Prediction(
            request_id=query.request_id,
            model=in_force.champion.manifest.name,
            version=in_force.champion.tag,
            lane="stable",
            propensity=1.0,
            key_hash=router.key_hash(query.key, secret=self._secret),
            slices=query.slices,
            latency_seconds=seconds,
            generation=in_force.table.generation,
            error=str(cause)[:MAX_REASON],
        )
        with contextlib.suppress(errors.CoppiceError):
            await self._commit(record)

    def _mirror(
        self, in_force: lanes.Lanes, query: admission.Query, reply: Reply, rows: int
    ) -> None:
        table = in_force.table
        wanted = router.mirrors(table, query.request_id, secret=self._secret)
        if wanted is router.NOWHERE:
            return
        against, scores = reply.version.tag, reply.answers.scores
        if wanted.pair and reply.fallback is None and table.candidate is not None:
            stable = reply.choice.lane == "stable"
            tag = table.candidate if stable else table.champion
            version = in_force.candidate if stable else in_force.champion
            role: records.Role = "candidate" if stable else "champion"
            self._shadows.offer(
                shadow.Copy(
                    query.request_id, query.inputs, rows, tag, version, role, against, scores
                )
            )
        if wanted.parent and table.parent is not None and in_force.parent is not None:
            self._shadows.offer(
                shadow.Copy(
                    query.request_id,
                    query.inputs,
                    rows,
                    table.parent,
                    in_force.parent,
                    "parent",
                    against,
                    scores,
                )
            )

    def close(self) -> None:
        """Drop the shadows that wait; called once no request is in flight."""
        self._shadows.close(seconds=10.0)


async def _in_time(replying: Coroutine[Any, Any, Reply], seconds: float) -> Reply:
    """Wait for an answer as long as the client does; what has not begun then is not run."""
    try:
        async with asyncio.timeout(seconds):
            return await replying
    except TimeoutError as cause:
        raise TimeoutPassed from cause
