"""The topics of a partition come in one order, however they arrived."""

from __future__ import annotations

import itertools
import math

import pytest

from monitoring import merge

GRACE = 2.0
NOW = 1000.0


def record(topic, offset, time):
    return merge.Sourced(topic, offset, None, time)


def everything_read(_topic):
    return True


def nothing_read(_topic):
    return False


RECORDS = [record(0, 0, 1.0), record(0, 1, 4.0), record(1, 0, 2.0), record(2, 0, 3.0)]


@pytest.mark.parametrize("order", list(itertools.permutations([0, 2, 3])))
def test_records_go_by_time_however_the_topics_arrive(order):
    merged = merge.Merge(3, GRACE)
    groups = {0: RECORDS[:2], 2: RECORDS[2:3], 3: RECORDS[3:]}
    for first in order:
        for found in groups[first]:
            merged.add(found)
    assert [found.time for found in merged.ready(NOW, everything_read)] == [1.0, 2.0, 3.0, 4.0]


def test_a_topic_keeps_its_own_order_whatever_its_times():
    merged = merge.Merge(1, GRACE)
    for offset, time in enumerate([5.0, 3.0, 4.0]):
        merged.add(record(0, offset, time))
    assert [found.offset for found in merged.ready(NOW, everything_read)] == [0, 1, 2]


def test_of_records_of_the_same_time_the_earlier_topics_goes_first():
    merged = merge.Merge(2, GRACE)
    merged.add(record(1, 0, 1.0))
    merged.add(record(0, 0, 1.0))
    assert [found.topic for found in merged.ready(NOW, everything_read)] == [0, 1]


def test_a_topic_that_is_not_read_to_its_end_is_waited_for():
    merged = merge.Merge(2, GRACE)
    merged.add(record(0, 0, 1.0))
    assert list(merged.ready(NOW, nothing_read)) == []
    merged.add(record(1, 0, 0.5))
    # The second topic is empty again, and may have more to give.
    assert [found.time for found in merged.ready(NOW, nothing_read)] == [0.5]


def test_an_empty_topic_is_waited_for_as_long_as_the_grace():
    merged = merge.Merge(2, GRACE)
    merged.add(record(0, 0, NOW))
    assert list(merged.ready(NOW + 1.9, everything_read)) == []
    assert len(list(merged.ready(NOW + 2.0, everything_read))) == 1


def test_nothing_is_known_before_the_topics_were_read():
    assert merge.Merge(2, GRACE).watermark(NOW, nothing_read) == -math.inf


def test_without_records_the_watermark_follows_the_clock():
    merged = merge.Merge(2, GRACE)
    assert merged.watermark(NOW, everything_read) == NOW - GRACE
    assert merged.watermark(NOW + 5.0, everything_read) == NOW + 5.0 - GRACE


def test_a_record_that_waits_holds_the_watermark():
    merged = merge.Merge(2, GRACE)
    merged.add(record(0, 0, NOW - 3.0))
    assert merged.watermark(NOW, everything_read) == NOW - 3.0
    assert merged.waiting() == 1


def test_the_watermark_never_goes_back():
    merged = merge.Merge(1, GRACE)
    assert merged.watermark(NOW, everything_read) == NOW - GRACE
    merged.add(record(0, 0, 5.0))
    assert [found.time for found in merged.ready(NOW, everything_read)] == [5.0]
    assert merged.watermark(NOW, everything_read) == NOW - GRACE
