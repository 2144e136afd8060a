from __future__ import annotations

import pytest

from coppice import metrics


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


def test_without_a_port_nothing_listens(
    made: metrics.LoopMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("prometheus_client.start_http_server", lambda *given: started.append(given))
    made.serve(0)
    assert started == []
    made.serve(9000)
    assert started == [(9000, "127.0.0.1", made.registry)]
