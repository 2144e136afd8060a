"""The metrics of the data plane."""

from __future__ import annotations

import asyncio

import prometheus_client
import pytest
from prometheus_client import registry

from service import recorder
from tests.support import serving


@pytest.fixture
def collectors() -> registry.CollectorRegistry:
    return registry.CollectorRegistry()


def filled(collectors: registry.CollectorRegistry) -> recorder.Recorder:
    """A recorder of which everything was used once."""
    made = recorder.Recorder(collectors)
    made.request("infer", 200)
    made.answered("stable", "m:1", 0.004)
    made.batch(3)
    made.fallback("m:2")
    made.shadow("parent", "dropped", 2)
    made.load_failed()
    made.turn_failed("outbox")
    made.committed(0.001, backlog=5)
    made.commit_failed(4)
    made.inputs_dropped(6)
    made.answered_unstored(8)
    made.generation(7)
    made.model("m:1", "champion", present=True)
    made.canary_shut(shut=True)
    return made


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("coppice_requests_total", {"door": "infer", "code": "200"}, 1),
        ("coppice_request_seconds_sum", {"lane": "stable", "version": "m:1"}, 0.004),
        ("coppice_batch_rows_sum", {}, 3),
        ("coppice_fallbacks_total", {"version": "m:2"}, 1),
        ("coppice_shadows_total", {"role": "parent", "outcome": "dropped"}, 2),
        ("coppice_load_failures_total", {}, 1),
        ("coppice_turn_failures_total", {"loop": "outbox"}, 1),
        ("coppice_outbox_commit_seconds_sum", {}, 0.001),
        ("coppice_outbox_backlog", {}, 5),
        ("coppice_outbox_failures_total", {}, 4),
        ("coppice_predictions_unstored_total", {}, 8),
        ("coppice_inputs_dropped_total", {}, 6),
        ("coppice_routing_generation", {}, 7),
        ("coppice_model_info", {"version": "m:1", "part": "champion"}, 1),
        ("coppice_canary_shut", {}, 1),
    ],
)
def test_each_metric_shows_what_was_recorded(
    collectors: registry.CollectorRegistry, name: str, labels: dict[str, str], value: float
) -> None:
    filled(collectors)
    assert collectors.get_sample_value(name, labels) == value


def test_every_metric_has_our_prefix_and_says_what_it_means(
    collectors: registry.CollectorRegistry,
) -> None:
    filled(collectors)
    families = list(collectors.collect())
    assert all(family.name.startswith("coppice_") for family in families)
    assert all(family.documentation.endswith(".") for family in families)


def test_a_version_that_is_gone_shows_zero(collectors: registry.CollectorRegistry) -> None:
    filled(collectors).model("m:1", "champion", present=False)
    labels = {"version": "m:1", "part": "champion"}
    assert collectors.get_sample_value("coppice_model_info", labels) == 0.0


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("coppice_requests_total", {"door": "predict", "code": "503"}),
        ("coppice_shadows_total", {"role": "candidate", "outcome": "dropped"}),
    ],
)
def test_failures_are_counted_from_nought_so_that_the_first_is_an_increase(
    collectors: registry.CollectorRegistry, name: str, labels: dict[str, str]
) -> None:
    recorder.Recorder(collectors)
    assert collectors.get_sample_value(name, labels) == 0.0


ANSWERED = {"lane": "stable", "version": "m:1"}


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.00051, 10.0, 11.0])
def test_what_was_added_up_falls_into_the_buckets_that_it_would_fall_into_one_by_one(
    seconds: float,
) -> None:
    ours, plain = registry.CollectorRegistry(), registry.CollectorRegistry()
    recorder.Recorder(ours).answered("stable", "m:1", seconds)
    by_hand = prometheus_client.Histogram(
        "coppice_request_seconds",
        "",
        ["lane", "version"],
        buckets=recorder.SECONDS,
        registry=plain,
    )
    by_hand.labels("stable", "m:1").observe(seconds)
    edges = [*(str(edge) for edge in recorder.SECONDS), "+Inf"]
    shown = [
        [
            found.get_sample_value("coppice_request_seconds_bucket", {**ANSWERED, "le": edge})
            for edge in edges
        ]
        for found in (ours, plain)
    ]
    assert shown[0] == shown[1]


def test_gathered_answers_are_shown_soon_by_themselves(
    collectors: registry.CollectorRegistry,
) -> None:
    async def steps() -> tuple[float | None, float | None]:
        made = recorder.Recorder(collectors)
        made.gather(asyncio.get_running_loop())
        made.answered("stable", "m:1", 0.004)
        at_once = collectors.get_sample_value("coppice_request_seconds_count", ANSWERED)
        await serving.until(
            lambda: collectors.get_sample_value("coppice_request_seconds_count", ANSWERED) == 1.0
        )
        return at_once, collectors.get_sample_value("coppice_request_seconds_sum", ANSWERED)

    assert asyncio.run(steps()) == (None, 0.004)


def test_a_flush_shows_all_that_was_gathered_and_shows_it_once(
    collectors: registry.CollectorRegistry,
) -> None:
    async def steps() -> None:
        made = recorder.Recorder(collectors)
        made.gather(asyncio.get_running_loop())
        made.request("infer", 200)
        made.request("infer", 200)
        made.flush()
        made.flush()

    asyncio.run(steps())
    labels = {"door": "infer", "code": "200"}
    assert collectors.get_sample_value("coppice_requests_total", labels) == 2.0


@pytest.mark.parametrize(
    ("name", "told"),
    [("coppice_batch_rows", 3.0), ("coppice_outbox_commit_seconds", 0.004)],
)
def test_runs_and_commits_are_gathered_on_the_loop_and_shown_at_once_from_other_threads(
    collectors: registry.CollectorRegistry, name: str, told: float
) -> None:
    def tell(made: recorder.Recorder) -> None:
        made.batch(3)
        made.committed(0.004, 0)

    def shown() -> list[float | None]:
        return [collectors.get_sample_value(f"{name}_{part}") for part in ("count", "sum")]

    async def steps() -> list[list[float | None]]:
        made = recorder.Recorder(collectors)
        made.gather(asyncio.get_running_loop())
        tell(made)
        found = [shown()]
        await asyncio.to_thread(tell, made)
        found.append(shown())
        made.flush()
        made.flush()
        return [*found, shown()]

    assert asyncio.run(steps()) == [[0.0, 0.0], [1.0, told], [2.0, 2 * told]]


def test_what_waits_for_its_commit_is_shown_until_nothing_waits(
    collectors: registry.CollectorRegistry,
) -> None:
    made = recorder.Recorder(collectors)

    def shown(backlog: int) -> float | None:
        made.committed(0.001, backlog)
        return collectors.get_sample_value("coppice_outbox_backlog")

    assert [shown(backlog) for backlog in (0, 3, 2, 0, 0)] == [0.0, 3.0, 2.0, 0.0, 0.0]
