from __future__ import annotations

import threading
import urllib.request

import pytest

from coppice import errors, metrics
from coppice_cli import doors
from tests.support import serving


@pytest.fixture
def made() -> metrics.LoopMetrics:
    return metrics.LoopMetrics("m", prefix="coppice_some", process="walker")


def test_a_turn_that_raised_is_counted_by_its_error(made: metrics.LoopMetrics) -> None:
    made.failed(ValueError("no"))
    labels = {"model": "m", "error": "ValueError"}
    assert made.registry.get_sample_value("coppice_some_turn_errors_total", labels) == 1.0


def test_events_passed_over_are_counted_from_nought(made: metrics.LoopMetrics) -> None:
    name, labels = "coppice_some_undecodable_events_total", {"model": "m"}
    assert made.registry.get_sample_value(name, labels) == 0.0
    made.passed_over()
    assert made.registry.get_sample_value(name, labels) == 1.0


def test_a_scrape_is_answered_on_the_address_that_is_set(made: metrics.LoopMetrics) -> None:
    host, port = "127.0.0.2", serving.free_port()
    made.serve(host, port)
    made.passed_over()

    with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
        page = answer.read().decode()

    assert 'coppice_some_undecodable_events_total{model="m"} 1.0' in page
    # Nobody listens on the others.
    assert doors.refusal("127.0.0.1", port) is None
    assert doors.refusal(host, port) is not None


def test_without_a_port_nothing_listens(made: metrics.LoopMetrics) -> None:
    before = threading.active_count()
    made.serve("127.0.0.2", 0)
    assert threading.active_count() == before


def test_an_address_of_another_machine_is_refused_with_the_settings_name(
    made: metrics.LoopMetrics,
) -> None:
    # 192.0.2.0/24 is for documents only (RFC 5737), so no machine has it.
    with pytest.raises(errors.EnvironmentProblem, match=r"192\.0\.2\.1:3004.*set metrics\.host"):
        made.serve("192.0.2.1", 3004)
