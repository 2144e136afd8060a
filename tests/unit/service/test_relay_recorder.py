from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from coppice.eventlog import base
from service import relay_recorder
from service.relay_recorder import Recorder
from tests.support import serving


def shown(recorder: Recorder, name: str, **labels: str) -> float | None:
    return recorder.registry.get_sample_value(name, {"model": "digits", **labels})


def test_what_waits_is_shown_for_each_log() -> None:
    recorder = Recorder("digits")

    recorder.waits("outbox", base.Backlog(events=3, bytes=700, oldest=90.0), now=100.0)
    recorder.waits("events", base.Backlog(events=0, bytes=0, oldest=None), now=100.0)

    assert shown(recorder, "coppice_relay_backlog", log="outbox") == 3
    assert shown(recorder, "coppice_relay_backlog_bytes", log="outbox") == 700
    # Written at 90, and now it is 100.
    assert shown(recorder, "coppice_relay_backlog_seconds", log="outbox") == 10.0
    assert shown(recorder, "coppice_relay_backlog_seconds", log="events") == 0.0


def test_an_event_of_a_clock_that_is_ahead_has_no_negative_age() -> None:
    recorder = Recorder("digits")

    recorder.waits("outbox", base.Backlog(events=1, bytes=1, oldest=101.0), now=100.0)

    assert shown(recorder, "coppice_relay_backlog_seconds", log="outbox") == 0.0


@pytest.mark.parametrize(
    "what", ["events", "failures", "log_failures", "inputs_dropped", "refused"]
)
def test_every_count_begins_at_nought(what: str) -> None:
    assert shown(Recorder("digits"), f"coppice_relay_{what}_total") == 0


def test_events_and_troubles_are_counted() -> None:
    recorder = Recorder("digits")

    recorder.relayed(5)
    recorder.log_failed()
    recorder.stripped()
    recorder.refused()

    assert shown(recorder, "coppice_relay_events_total") == 5
    assert shown(recorder, "coppice_relay_log_failures_total") == 1
    assert shown(recorder, "coppice_relay_inputs_dropped_total") == 1
    assert shown(recorder, "coppice_relay_refused_total") == 1


def test_waiting_for_a_cluster_is_shown_while_it_lasts() -> None:
    recorder = Recorder("digits")

    recorder.waiting(waits=True)
    assert shown(recorder, "coppice_relay_waiting") == 1
    recorder.waiting(waits=False)
    assert shown(recorder, "coppice_relay_waiting") == 0


def test_missed_deadlines_are_counted_on_over_the_end_of_the_process(tmp_path: Path) -> None:
    Recorder("digits", tmp_path).stuck()
    Recorder("digits", tmp_path).stuck()

    assert shown(Recorder("digits", tmp_path), "coppice_relay_failures_total") == 2


@pytest.mark.parametrize("content", [b"", b"many"])
def test_a_count_that_cannot_be_read_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / relay_recorder.FAILURES).write_bytes(content)

    assert shown(Recorder("digits", tmp_path), "coppice_relay_failures_total") == 0


def test_a_count_that_cannot_be_written_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    recorder = Recorder("digits", tmp_path / "file" / "home")

    recorder.stuck()

    assert shown(recorder, "coppice_relay_failures_total") == 0


def test_metrics_are_served_on_the_port_that_is_set() -> None:
    port = serving.free_port()
    recorder = Recorder("digits")
    recorder.serve("127.0.0.1", port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        page = answer.read().decode()

    assert 'coppice_relay_waiting{model="digits"} 0.0' in page
