"""The monitor's own pages: verdict, state, label queue, metrics.

====================== ========================================================================
GET /health            200 while the process is alive; says when the last turn succeeded
GET /metrics           Prometheus text
GET /v1/verdict        ?model= : about the candidate; 200 always, no data is `undecided`
GET /v1/state          ?model= : everything that the last turn saw
GET /v1/labels/wanted  ?model=&limit= : requests to label, the most decisive first
GET /reports/NAME      a drift report, as HTML; the names are in `/v1/state`
GET /reports/newest    the one that was written last: where the drift alarm points
====================== ========================================================================

The pages only read the last turn's `Status`, which is replaced as a whole, so that a long turn
(a detector that calibrates, a replay) never holds one up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec
from starlette import applications, requests, responses, routing

from coppice import clock, pages, records
from monitoring import status, wanted

NEWEST = "newest"
DEFAULT_LIMIT = 100


class Source(Protocol):
    """Where the pages take what they show."""

    def status(self) -> status.Status | None:
        """Return what the last turn saw; `None` before the first."""
        ...

    def metrics(self) -> bytes:
        """Return the text of `/metrics`."""
        ...

    def report(self, name: str) -> Path | None:
        """Return where a drift report lies; `None` where there is none of that name."""
        ...


class CandidateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `/v1/verdict`, in the form that rollout controllers ask for."""

    verdict: str
    reason: str
    model: str
    version: str | None = None
    against: str | None = None
    evidence: dict[str, float] = {}
    counts: dict[str, int] = {}
    label_coverage: float = 0.0


class WantedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `/v1/labels/wanted`; see `wanted.WantedLabel`."""

    request_id: str
    reason: str
    version: str
    rows: tuple[int, ...] | None
    divergence: float
    inclusion_probability: float
    age_seconds: float


def app(source: Source, model: str, time: clock.Clock) -> applications.Starlette:
    """Build the pages.

    Parameters
    ----------
    source
        What they show.
    model
        The one model that this monitor watches.
    time
        Tells how old a request is.
    """

    async def health(_: requests.Request) -> responses.Response:
        seen = source.status()
        return pages.as_json({"alive": True, "last_turn": seen.at if seen is not None else None})

    async def metrics(_: requests.Request) -> responses.Response:
        return responses.Response(source.metrics(), media_type="text/plain; version=0.0.4")

    async def verdict(request: requests.Request) -> responses.Response:
        asked = request.query_params.get("model", model)
        return pages.as_json(
            candidate_verdict(source.status() if asked == model else None, asked, model)
        )

    async def state(request: requests.Request) -> responses.Response:
        asked = request.query_params.get("model", model)
        seen = source.status() if asked == model else None
        return pages.as_json({"model": asked, "watched": asked == model, "state": seen})

    async def labels_wanted(request: requests.Request) -> responses.Response:
        asked = request.query_params.get("model", model)
        try:
            limit = int(request.query_params.get("limit", DEFAULT_LIMIT))
        except ValueError:
            return pages.as_json({"error": "`limit` is a whole number, at least 0"}, 400)
        seen = source.status() if asked == model else None
        rows = wanted_rows(seen, max(limit, 0), time.now())
        return pages.as_json({"model": asked, "wanted": rows})

    async def report(request: requests.Request) -> responses.Response:
        name = request.path_params["name"]
        seen = source.status()
        if name == NEWEST and seen is not None and seen.reports:
            name = seen.reports[0]
        found = source.report(name)
        if found is None:
            return pages.as_json({"error": "there is no such report; `/v1/state` names them"}, 404)
        return responses.FileResponse(found, media_type="text/html")

    return applications.Starlette(
        routes=[
            routing.Route("/health", health),
            routing.Route("/metrics", metrics),
            routing.Route("/v1/verdict", verdict),
            routing.Route("/v1/state", state),
            routing.Route("/v1/labels/wanted", labels_wanted),
            routing.Route("/reports/{name}", report),
        ]
    )


def candidate_verdict(seen: status.Status | None, asked: str, watched: str) -> CandidateVerdict:
    """Say what is known about the candidate; whatever is missing is `undecided`.

    >>> candidate_verdict(None, "cats", "digits").reason
    "this monitor watches 'digits', not 'cats'"
    """
    if asked != watched:
        reason = f"this monitor watches {watched!r}, not {asked!r}"
    elif seen is None:
        reason = "the monitor has not finished its first look at the event log"
    elif seen.candidate is None:
        reason = "there is no candidate"
    elif seen.candidate_verdict is None:
        reason = f"{seen.candidate} has not been judged yet"
    else:
        return _told(seen.candidate_verdict)
    return CandidateVerdict(verdict="undecided", reason=reason, model=asked)


def _told(verdict: records.Verdict) -> CandidateVerdict:
    return CandidateVerdict(
        verdict=verdict.kind,
        reason=verdict.reason,
        model=verdict.model,
        version=verdict.version,
        against=verdict.against,
        evidence=verdict.evidence,
        counts=verdict.counts,
        label_coverage=verdict.label_coverage,
    )


def wanted_rows(seen: status.Status | None, limit: int, now: float) -> list[WantedRow]:
    """Return the head of the label queue."""
    queue: tuple[wanted.WantedLabel, ...] = seen.queue if seen is not None else ()
    return [
        WantedRow(
            request_id=label.request_id,
            reason=label.reason,
            version=label.version,
            rows=label.rows,
            divergence=round(label.divergence, 6),
            inclusion_probability=label.inclusion_probability,
            age_seconds=round(max(now - label.seen_at, 0.0), 3),
        )
        for label in queue[:limit]
    ]
