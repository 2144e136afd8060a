"""The figures of `docs/capacity.md` are those that the arithmetic makes of the measured costs."""

from __future__ import annotations

import pytest

from bench import capacity

COSTS = capacity.Costs(
    answer=0.0002,
    commit=0.00001,
    send=0.0001,
    receive=0.00005,
    read=0.000005,
    store=0.00001,
    fold=0.00003,
    join=0.00002,
    judge=0.00004,
    stored_bytes=500,
    sent_bytes=800,
    large_bytes=5000,
)
LOAD = capacity.Load(
    requests=10_000.0,
    label_share=0.1,
    mirror_share=0.2,
    model_seconds=0.0003,
    busy=0.5,
    index_factor=2.0,
    replication=3,
    local_days=2.0,
    kafka_days=7.0,
)


@pytest.fixture
def found() -> capacity.Plan:
    return capacity.plan(LOAD, COSTS)


def test_requests_labels_and_mirrored_answers_are_events(found: capacity.Plan) -> None:
    # 10,000 + 1,000 + 2,000.
    assert found.events == 13_000


def test_servers_answer_mirror_and_commit(found: capacity.Plan) -> None:
    # 10,000 * 0.5 ms + 2,000 * 0.31 ms + 1,000 * 0.01 ms = 5.63 s of work a second, at half: 11.26.
    assert found.servers == 12


def test_relays_read_and_send_every_event(found: capacity.Plan) -> None:
    # 13,000 * 0.105 ms = 1.365 s, at half: 2.73.
    assert found.relays == 3


def test_monitors_receive_all_fold_answers_and_join_labels(found: capacity.Plan) -> None:
    # 13,000 * 0.05 ms + 12,000 * 0.03 ms + 1,000 * 0.02 ms = 1.03 s, at half: 2.06.
    assert found.monitors == 3
    assert found.partitions == 6


def test_a_replica_takes_what_one_core_receives_and_stores(found: capacity.Plan) -> None:
    # 0.5 / 0.06 ms.
    assert found.replica_rate == pytest.approx(8333.3, abs=0.1)


def test_one_member_of_a_group_folds_the_facts_of_every_request(found: capacity.Plan) -> None:
    # 0.5 / 0.04 ms, whatever is asked for.
    assert found.judge_rate == pytest.approx(12_500)


def test_disks_hold_the_days_that_are_kept(found: capacity.Plan) -> None:
    # 13,000 * 86,400 events a day, 2 days of 500 bytes twice; of 5,000 bytes; 7 days of 800 thrice.
    assert found.local_bytes == pytest.approx(2.2464e12)
    assert found.large_bytes == pytest.approx(2.2464e13)
    assert found.kafka_bytes == pytest.approx(1.886976e13)
    assert found.kafka_rate == pytest.approx(10_400_000)


def test_a_trickle_needs_one_core_of_each() -> None:
    found = capacity.plan(capacity.Load(requests=1.0), COSTS)

    assert (found.servers, found.relays, found.monitors, found.partitions) == (1, 1, 1, 2)


def test_work_that_just_fits_takes_no_further_core() -> None:
    # 10,000 * 0.3 ms = 3 s, at 60%: 5, though 3 / 0.6 is a bit more in binary.
    load = capacity.Load(10_000.0, label_share=0.0, mirror_share=0.0, model_seconds=0.0001)

    assert capacity.plan(load, COSTS).servers == 5


def test_a_replica_that_cannot_follow_is_called_so() -> None:
    # 0.6 / 0.06 ms = 10,000 events a second; 1,000 requests make 1,150, 10,000 make 11,500.
    row = next(line for line in capacity.text(COSTS).splitlines() if "replica on one core" in line)

    assert row.endswith("| 10,000 | 10,000, too few | 10,000, too few |")


def test_a_judge_that_cannot_follow_is_called_so() -> None:
    # 0.6 / 0.04 ms = 15,000 requests a second.
    row = next(line for line in capacity.text(COSTS).splitlines() if "that judges takes" in line)

    assert row.endswith("| 15,000 | 15,000 | 15,000, too few |")


def test_only_what_lies_between_the_marks_is_renewed() -> None:
    document = f"before\n{capacity.BEGIN}\nstale figures\n{capacity.END}\nbehind\n"

    renewed = capacity.filled(document, COSTS)

    assert renewed.startswith(f"before\n{capacity.BEGIN}\n| stage |")
    assert renewed.endswith(f"\n{capacity.END}\nbehind\n")
    assert "stale figures" not in renewed


def test_the_document_shows_what_the_last_run_measured() -> None:
    document = capacity.DOCUMENT.read_text("utf-8")

    assert document == capacity.filled(document, capacity.read()), (
        "run `.venv/bin/python bench/capacity.py`"
    )
