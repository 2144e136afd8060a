"""What the reader makes of the brokers' answers; against brokers: tests/integration."""

from __future__ import annotations

from kafka import structs

from coppice.eventlog.kafka_reader import KafkaReader
from coppice.follow import plan

FULL, EMPTIED, NEW = (structs.TopicPartition("a", number) for number in range(3))


class Consumer:
    """A client whose brokers have a partition with records, one emptied by retention, a new one."""

    def beginning_offsets(
        self, parts: list[structs.TopicPartition], timeout_ms: int
    ) -> dict[structs.TopicPartition, int]:
        del parts, timeout_ms
        return {FULL: 3, EMPTIED: 9, NEW: 0}

    def end_offsets(
        self, parts: list[structs.TopicPartition], timeout_ms: int
    ) -> dict[structs.TopicPartition, int]:
        del parts, timeout_ms
        return {FULL: 5, EMPTIED: 9, NEW: 0}


def test_a_partition_that_retention_emptied_has_nothing_to_wait_for() -> None:
    # A mock cluster never removes a record, so that the client is played here.
    reader = object.__new__(KafkaReader)
    reader._consumer = Consumer()
    reader._parts = [FULL, EMPTIED, NEW]

    ends = reader.ends()

    assert ends == {("a", 0): 5, ("a", 1): 0, ("a", 2): 0}
    assert plan.lags({("a", 0): 5}, ends) == {"a": 0}
