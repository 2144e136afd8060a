"""Serve on a disk that is really full, and print as JSON what clients saw.

Usage: python full_disk.py FOLDER POLICY, in a mount namespace of its own, where this program may
put a small disk in memory at FOLDER. POLICY is `events.when_full`. A file of ballast is removed in
the end, as an operator would make room.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import registry

from coppice import records
from service import compose, recorder
from tests.support import serving

DISK, BALLAST = 3 * 2**20, 2**20
ROWS = [[1.0, 1.0, 1.0, 1.0]] * 256
"""Inputs of 4 KiB, so that leaving them out makes a difference."""
MOST = 300


def mount(folder: Path) -> None:
    size = f"size={DISK}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)


async def main(folder: Path, policy: str) -> dict[str, Any]:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(BALLAST))
    made = serving.project(folder / "project", events={"when_full": policy})
    collectors = registry.CollectorRegistry()
    metrics = recorder.Recorder(collectors)
    opened = compose.Plane(made.tree, loop=asyncio.get_running_loop(), metrics=metrics)
    try:
        await serving.until(lambda: opened.ready)
        statuses, acknowledged = await _fill(opened)
        refused = await _label_until_refused(opened, acknowledged)
        after = await _predict(opened)
        acknowledged += [after.json["id"]] if after.status == 200 else []
        ballast.unlink()
        label = json.dumps({"request_id": refused[0], "labels": [1] * len(ROWS)}).encode()
        freed = [await serving.ask(opened, "/feedback", label), await _predict(opened)]
    finally:
        opened.close()
    counts = {
        name: collectors.get_sample_value(f"coppice_{name}_total")
        for name in ("inputs_dropped", "predictions_unstored")
    }
    with contextlib.closing(made.log) as log:
        stored = {record.request_id for record in serving.stored(log, records.Prediction)}
        labelled = {record.request_id for record in serving.stored(log, records.Feedback)}
        findings = log.integrity()
    return {
        "statuses": statuses,
        "feedback": {"status": refused[1].status, **refused[1].json},
        "then": after.status,
        "freed": [reply.status for reply in freed],
        "unstored": len(set(acknowledged) - stored),
        "label_lost": refused[0] not in labelled,
        "findings": findings,
        **counts,
    }


async def _predict(opened: compose.Plane) -> serving.Reply:
    return await serving.ask(opened, serving.INFER, serving.infer_body(ROWS))


async def _fill(opened: compose.Plane) -> tuple[dict[int, int], list[str]]:
    """Predict until it is refused, or until the log has taken nothing for a while."""
    statuses: collections.Counter[int] = collections.Counter()
    acknowledged: list[str] = []
    while sum(statuses.values()) < MOST and not statuses[507]:
        reply = await _predict(opened)
        statuses[reply.status] += 1
        if reply.status == 200:
            acknowledged.append(reply.json["id"])
    return dict(statuses), acknowledged


async def _label_until_refused(
    opened: compose.Plane, known: list[str]
) -> tuple[str, serving.Reply]:
    """Label what was stored until there is no room for a label; return whose, and the refusal."""
    for request_id in known:
        label = json.dumps({"request_id": request_id, "labels": [1] * len(ROWS)}).encode()
        reply = await serving.ask(opened, "/feedback", label)
        if reply.status == 507:
            return request_id, reply
    message = f"there was room for all {len(known)} labels; the last answer was {reply}"
    raise AssertionError(message)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    mount(place)
    sys.stdout.write(json.dumps(asyncio.run(main(place, sys.argv[2]))))
