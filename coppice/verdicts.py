"""What the monitor says about the candidate: promote, rollback or undecided.

The monitor judges and writes events; server and controller only read the latest ones out of the
log. No candidate, no event, or a log that cannot be read is *undecided*, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coppice import errors, records
from coppice.eventlog import base


def conclude(verdicts: Sequence[records.Verdict], candidate: str) -> dict[str, Any]:
    """Sum up the verdicts on a candidate, oldest first.

    A rollback for any slice is a rollback; a promotion needs the verdict over all requests.

    >>> conclude([], "m:2")["verdict"]
    'undecided'
    """
    latest = {v.slice: v for v in verdicts if v.scope == "candidate" and v.version == candidate}
    bad = [verdict for verdict in latest.values() if verdict.kind == "rollback"]
    overall = latest.get("all")
    chosen = bad[0] if bad else overall
    if chosen is None:
        return undecided(f"the monitor has not judged {candidate} yet")
    kind = chosen.kind if chosen.kind in {"promote", "rollback"} else "undecided"
    return {
        "verdict": kind,
        "reason": chosen.reason,
        "evidence": dict(chosen.evidence),
        "counts": dict(chosen.counts),
        "label_coverage": chosen.label_coverage,
        "version": candidate,
    }


def undecided(reason: str) -> dict[str, Any]:
    """Return the answer that decides nothing, with the reason why."""
    return {
        "verdict": "undecided",
        "reason": reason,
        "evidence": {},
        "counts": {},
        "label_coverage": 0.0,
        "version": None,
    }


def read(log: base.Finder, candidate: str | None) -> dict[str, Any]:
    """Read the verdict on a candidate out of the log."""
    if candidate is None:
        return undecided("there is no candidate")
    try:
        # A verdict's subject is the version that it is about.
        found = [records.unseal(event) for event in log.find(candidate, records.Verdict)]
    except errors.EventLogError as cause:
        return undecided(f"the log cannot be read: {cause}")
    return conclude([v for v in found if isinstance(v, records.Verdict)], candidate)
