"""Facts of all members come in one order, each of them once."""

from __future__ import annotations

import math

import msgspec
import pytest

from coppice import errors, records
from monitoring import facts, join, order

PAIR = join.Pair("tiny:stable", "tiny:candidate")
NOW = 1000.0


def fact(time, subject="r", version="tiny:stable", **fields):
    what = facts.Mirrored(version, "tiny:other", "candidate", 1, failed=False, agrees=())
    return facts.Fact(time, subject, fields.pop("what", what), **fields)


def batch(partition, watermark, *found, start=0):
    sources = tuple((0, start + index) for index in range(len(found)))
    return order.Batch("tiny", partition, watermark, sources, facts.encode(found))


@pytest.fixture
def ordering():
    return order.Ordering(partitions=2, patience=60.0, since=NOW)


def times(ordering, now=NOW):
    return [(found.time, found.subject) for found in ordering.ready(now, 100)]


def test_facts_go_by_time_then_request_once_all_partitions_have_passed_them(ordering):
    ordering.add(batch(0, 10.0, fact(3.0, "b"), fact(5.0, "c")), NOW)
    assert times(ordering) == []
    ordering.add(batch(1, 4.0, fact(3.0, "a"), fact(1.0, "z")), NOW)
    assert times(ordering) == [(1.0, "z"), (3.0, "a"), (3.0, "b")]
    ordering.add(batch(1, 5.5), NOW)
    assert times(ordering) == [(5.0, "c")]


def test_facts_of_one_request_and_time_stay_in_the_order_in_which_they_were_told(ordering):
    first, second = fact(1.0, version="tiny:z"), fact(1.0, version="tiny:a")
    ordering.add(batch(0, 2.0, first, second), NOW)
    ordering.add(batch(1, 2.0), NOW)
    assert ordering.ready(NOW, 100) == [first, second]


def test_no_more_go_out_at_once_than_wanted(ordering):
    ordering.add(batch(0, 9.0, *(fact(float(n), f"r{n}") for n in range(5))), NOW)
    ordering.add(batch(1, 9.0), NOW)
    assert [len(ordering.ready(NOW, 3)) for _ in range(3)] == [3, 2, 0]


def test_a_partition_that_is_silent_for_long_is_not_waited_for(ordering):
    ordering.add(batch(0, 10.0, fact(3.0)), NOW + 61.0)
    assert times(ordering, NOW + 60.0) == []
    assert times(ordering, NOW + 61.0) == [(3.0, "r")]


def test_with_nobody_to_wait_for_what_is_there_goes_out(ordering):
    ordering.add(batch(0, 10.0, fact(3.0)), NOW)
    assert times(ordering, NOW + 100.0) == [(3.0, "r")]
    assert order.Ordering(2, 60.0, NOW).watermark(NOW + 100.0) == 0


def test_what_is_too_late_for_its_place_is_handed_back_and_counted(ordering):
    ordering.add(batch(0, 10.0, fact(3.0, "a"), fact(6.0, "b")), NOW)
    ordering.add(batch(1, 10.0), NOW)
    assert len(ordering.ready(NOW, 100)) == 2
    late = ordering.add(batch(1, 10.0, fact(2.0, "late"), start=5), NOW)
    assert [found.subject for found in late] == ["late"]
    assert ordering.late == 1


def test_a_fact_that_is_told_again_is_passed_over(ordering):
    told = batch(0, 10.0, fact(3.0, "a"), fact(4.0, "b"))
    ordering.add(told, NOW)
    ordering.add(told, NOW)
    ordering.add(batch(1, 10.0), NOW)
    assert times(ordering) == [(3.0, "a"), (4.0, "b")]
    assert ordering.duplicates == 2


def test_a_step_of_a_rollout_is_known_by_its_event(ordering):
    step = records.Rollout(
        model="tiny", stage="idle", champion="tiny:stable", outcome="promoted", reason=""
    )
    event = records.seal(step, source="test", now=1.0)
    other = records.seal(step, source="test", now=1.0)
    told = [fact(1.0, "tiny", what=facts.Told(each)) for each in (event, event, other)]
    ordering.add(batch(0, 10.0, *told), NOW)
    ordering.add(batch(1, 10.0), NOW)
    assert [found.what.event.id for found in ordering.ready(NOW, 9)] == [event.id, other.id]


def test_of_a_label_that_is_told_again_only_what_it_completes_now_is_news(ordering):
    scored = join.Scored("r", "tiny:stable", (1.0,), (1.0,), ())
    alone = fact(3.0, what=facts.Labelled(None, ("yes",)))
    whole = fact(3.0, what=facts.Labelled("tiny:stable", ()), scored=(scored,))
    ordering.add(batch(0, 10.0, alone), NOW)
    ordering.add(batch(0, 10.0, whole), NOW)
    ordering.add(batch(0, 10.0, whole), NOW)
    ordering.add(batch(1, 10.0), NOW)
    assert ordering.ready(NOW, 9) == [alone, whole]


def test_what_is_too_old_to_be_remembered_is_known_by_its_offset(ordering, monkeypatch):
    monkeypatch.setattr(order, "RECENT", 3)
    told = batch(0, 10.0, *(fact(float(n), f"r{n}") for n in range(12)))
    ordering.add(told, NOW)
    kept = ordering.told[0]
    assert len(kept.older) + len(kept.newer) <= 6
    assert kept.floor == {0: 9}
    ordering.add(told, NOW)
    assert ordering.duplicates == 12


def test_an_ordering_that_was_saved_goes_on_where_it_was(ordering):
    ordering.add(batch(0, 10.0, fact(3.0, "a"), fact(4.0, "b")), NOW)
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(ordering), type=order.Ordering)
    found.add(batch(0, 10.0, fact(3.0, "a"), fact(5.0, "c")), NOW)
    found.add(batch(1, 10.0), NOW)
    assert times(found) == [(3.0, "a"), (4.0, "b"), (5.0, "c")]


def test_a_watermark_that_goes_back_is_not_believed(ordering):
    ordering.add(batch(0, 10.0), NOW)
    ordering.add(batch(0, -math.inf), NOW)
    ordering.add(batch(1, 8.0), NOW)
    assert ordering.watermark(NOW) == 8.0


def test_a_batch_that_holds_no_facts_is_an_error(ordering):
    with pytest.raises(errors.UndecodableEvent, match="no facts that can be read"):
        ordering.add(order.Batch("tiny", 0, 1.0, (), b"junk"), NOW)
