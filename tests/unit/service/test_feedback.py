"""Labels for earlier requests: accepted once, and only where they fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coppice import errors, records
from coppice.eventlog.sqlite import SqliteLog
from service import admission, compose, feedback
from tests.support import serving

Steps = Callable[[compose.Plane], Coroutine[Any, Any, None]]


@pytest.fixture
def made(tmp_path: Path) -> serving.Project:
    return serving.project(tmp_path)


def run(made: serving.Project, steps: Steps) -> None:
    """Answer the requests r1 (one row) and r2 (two rows), then run steps."""

    async def main() -> None:
        async with serving.plane(made) as opened, asyncio.timeout(60.0):
            for name, rows in (("r1", 1), ("r2", 2)):
                inputs = {"x": np.ones((rows, 4), dtype=np.float32)}
                await opened.engine.infer(admission.Query(name, name, {}, inputs))
            await steps(opened)

    asyncio.run(main())


def message(**fields: Any) -> bytes:
    return json.dumps({"request_id": "r1", "label": 1, **fields}).encode()


def several(*labels: Any) -> bytes:
    return json.dumps({"request_id": "r2", "labels": labels}).encode()


def stored(opened: compose.Plane) -> list[records.Feedback]:
    return serving.stored(opened.log, records.Feedback)


def test_a_label_is_in_the_log_once_it_is_accepted(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        told = await opened.feedback.take(
            message(source="human", annotator="ada", saw_prediction=True)
        )
        (record,) = stored(opened)
        assert told == record.request_id == "r1"
        assert (record.labels, record.source, record.saw_prediction) == ((1,), "human", True)
        assert record.model == "tiny"
        assert record.annotator_hash not in {None, "ada"}

    run(made, steps)


@pytest.mark.parametrize("label", [0, 1, 1.0, "no", "yes"])
def test_a_label_is_an_index_or_the_name_of_a_class(made: serving.Project, label: Any) -> None:
    async def steps(opened: compose.Plane) -> None:
        await opened.feedback.take(message(label=label))
        assert stored(opened)[0].labels == (label,)

    run(made, steps)


def test_several_rows_take_as_many_labels(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        await opened.feedback.take(several("no", 1))
        assert stored(opened)[0].labels == ("no", 1)

    run(made, steps)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (several(1), "2 rows, but 1 labels"),
        (several(1, 1, 1), "2 rows, but 3 labels"),
        (message(request_id="r2"), "2 rows, but 1 labels"),
        (message(label=2), "no class"),
        (message(label=-1), "no class"),
        (message(label=0.5), "no class"),
        (message(label="maybe"), "no class"),
    ],
)
def test_labels_that_do_not_fit_are_refused(made: serving.Project, body: bytes, text: str) -> None:
    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.RequestError, match=text):
            await opened.feedback.take(body)
        assert stored(opened) == []

    run(made, steps)


def test_feedback_for_an_unknown_request_is_refused(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        with pytest.raises(errors.UnknownRequest, match="'r9'"):
            await opened.feedback.take(message(request_id="r9"))

    run(made, steps)


def test_repeated_feedback_is_refused_and_the_first_label_stands(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        await opened.feedback.take(message(label=0))
        with pytest.raises(errors.RepeatedFeedback):
            await opened.feedback.take(message(label=1))
        assert [record.labels for record in stored(opened)] == [(0,)]

    run(made, steps)


def test_of_two_labels_at_once_one_is_accepted(made: serving.Project) -> None:
    async def steps(opened: compose.Plane) -> None:
        both = [opened.feedback.take(message(label=label)) for label in (0, 1)]
        told = await asyncio.gather(*both, return_exceptions=True)
        assert [type(found) for found in told] == [str, errors.RepeatedFeedback]
        assert [record.labels for record in stored(opened)] == [(0,)]

    run(made, steps)


def test_a_label_that_another_process_stored_meanwhile_wins(made: serving.Project) -> None:
    class Late:
        """A log in which another worker's label appears right after the look-up."""

        def __init__(self, log: SqliteLog) -> None:
            self.log = log

        def find(self, subject: str, kind: type[records.Record]) -> list[records.Event]:
            found = self.log.find(subject, kind)
            if kind is records.Feedback and not found:
                self.log.append([other_workers(subject)])
            return found

        def latest(self, model: str, kind: type[records.Record]) -> records.Event | None:
            return self.log.latest(model, kind)

    async def steps(opened: compose.Plane) -> None:
        assert isinstance(opened.log, SqliteLog)
        desk = opened.feedback
        desk._parts = desk._parts._replace(log=Late(opened.log))
        with pytest.raises(errors.RepeatedFeedback):
            await desk.take(message(label=1))
        assert [record.labels for record in stored(opened)] == [("theirs",)]

    run(made, steps)


def other_workers(request_id: str) -> records.Event:
    record = records.Feedback(
        request_id=request_id, model="tiny", labels=("theirs",), labelled_at=1.0
    )
    event = records.seal(record, source="another worker", now=1.0)
    return records.Event(feedback.event_id(request_id), *list(_fields(event))[1:])


def _fields(event: records.Event) -> list[Any]:
    return [getattr(event, name) for name in event.__struct_fields__]


def test_a_request_that_failed_has_nothing_to_label(made: serving.Project) -> None:
    failed = records.Prediction(
        request_id="r7",
        model="tiny",
        version=made.champion,
        lane="stable",
        propensity=1.0,
        key_hash="k",
        latency_seconds=0.1,
        error="it failed",
    )

    async def steps(opened: compose.Plane) -> None:
        opened.log.append([records.seal(failed, source="test", now=1.0)])
        with pytest.raises(errors.UnknownRequest):
            await opened.feedback.take(message(request_id="r7"))

    run(made, steps)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "truncated"),
        (b"[1]", "Expected `object`"),
        (b'{"label": 1}', "missing required field `request_id`"),
        (b'{"request_id": "r1"}', "either `label`"),
        (b'{"request_id": "r1", "label": 1, "labels": [1]}', "either `label`"),
        (b'{"request_id": "r1", "label": true}', "not feedback"),
        (b'{"request_id": "r1", "label": null}', "either `label`"),
        (b'{"request_id": "r1", "lable": 1}', "unknown field `lable`"),
        (b'{"request_id": "r1", "label": 1, "source": "oracle"}', "Invalid enum value 'oracle'"),
        (b'{"request_id": "r1", "labels": [[1]]}', "not feedback"),
        (b"\xff", "not feedback"),
    ],
)
def test_a_body_that_is_no_feedback_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(errors.RequestError, match=text):
        feedback.decode(body)


def test_the_event_id_of_a_label_is_a_uuid_of_its_request() -> None:
    found = feedback.event_id("r1")
    assert found == feedback.event_id("r1") != feedback.event_id("r2")
    # RFC 9562: the variant's two bits are 10, so the 20th character is one of these.
    assert found[19] in "89ab"
    assert len(found) == 36
