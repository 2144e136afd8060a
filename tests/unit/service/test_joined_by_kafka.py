"""With Kafka the server writes an outbox of its own, and still knows what others wrote.

No broker is needed: what came from Kafka is put into the replica as the follower does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from coppice import errors, records, settings, verdicts
from coppice.eventlog import base
from coppice.eventlog.sqlite import SqliteLog
from service import admission
from tests.support import events, serving

QUERY = admission.Query("r1", "r1", {}, {"x": np.ones((1, 4), dtype=np.float32)})
LABEL = json.dumps({"request_id": "r1", "label": 1}).encode()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> serving.Project:
    monkeypatch.setenv("COPPICE_EVENTS__BACKEND", "kafka")
    monkeypatch.setenv("COPPICE_KAFKA__SERVERS", "127.0.0.1:9")
    return serving.project(tmp_path)


def replica(tree: settings.Settings) -> contextlib.closing[SqliteLog]:
    return contextlib.closing(SqliteLog(tree.log_path))


def test_what_the_server_writes_waits_in_its_outbox(made: serving.Project) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await opened.engine.infer(QUERY)
            with replica(opened.tree) as others:
                assert others.read(base.START).events == []
            assert len(serving.stored(opened.log, records.Prediction)) == 1

    asyncio.run(main())


def test_a_label_is_taken_for_a_request_of_this_server_at_once(made: serving.Project) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await opened.engine.infer(QUERY)
            assert await opened.feedback.take(LABEL) == "r1"

    asyncio.run(main())


def test_a_label_is_taken_for_a_request_that_another_server_answered(
    made: serving.Project,
) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            with pytest.raises(errors.UnknownRequest):
                await opened.feedback.take(LABEL)
            with replica(opened.tree) as others:
                others.receive([events.prediction("r1", model="tiny")], {("topic", 0): 1})
            assert await opened.feedback.take(LABEL) == "r1"

    asyncio.run(main())


def test_a_label_that_another_server_took_is_not_taken_again(made: serving.Project) -> None:
    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            await opened.engine.infer(QUERY)
            with replica(opened.tree) as others:
                others.receive([events.feedback("r1", model="tiny")], {("topic", 0): 1})
            with pytest.raises(errors.RepeatedFeedback):
                await opened.feedback.take(LABEL)

    asyncio.run(main())


def test_the_monitors_verdict_is_found_in_the_replica(made: serving.Project) -> None:
    judged = records.Verdict(
        model="tiny", version="tiny:2", scope="candidate", kind="promote", reason="better"
    )

    async def main() -> None:
        async with serving.plane(made) as opened:
            with replica(opened.tree) as others:
                others.append([records.seal(judged, source="tests", now=1.0)])
            assert verdicts.read(opened.index, "tiny:2")["verdict"] == "promote"

    asyncio.run(main())
