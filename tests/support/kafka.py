"""A Kafka cluster for tests: the mock brokers inside librdkafka, in this process, on loopback.

What it cannot do: it does not deduplicate an idempotent producer, and knows no admin requests.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka import structs

_PRODUCER = 0
PRODUCE, JOIN_GROUP, SYNC_GROUP = 0, 11, 14
"""Kafka's numbers of requests."""
NOT_LEADER, REQUEST_TIMED_OUT, NOT_COORDINATOR, NOT_ENOUGH_REPLICAS = 6, 7, 16, 19


class Cluster:
    """Mock brokers.

    Parameters
    ----------
    brokers
        How many; their ids count from 1.
    """

    def __init__(self, brokers: int = 3) -> None:
        self._library = _library()
        self._brokers = brokers
        error = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        self._client = self._library.rd_kafka_new(
            _PRODUCER, ctypes.c_void_p(configuration), error, 512
        )
        assert self._client, error.value
        self._cluster = self._library.rd_kafka_mock_cluster_new(
            ctypes.c_void_p(self._client), brokers
        )
        assert self._cluster

    @property
    def servers(self) -> tuple[str, ...]:
        """Addresses of the brokers."""
        text = self._library.rd_kafka_mock_cluster_bootstraps(ctypes.c_void_p(self._cluster))
        return tuple(text.decode().split(","))

    def make_topics(self, *names: str, partitions: int = 2) -> None:
        """Make topics; each takes about 0.15 s."""
        for name in names:
            self._call("topic_create", name.encode(), partitions, self._brokers)

    def fail_next(self, codes: Sequence[int], request: int = PRODUCE) -> None:
        """Answer the next requests of a kind with errors, one code each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._call("push_request_errors_array", request, len(codes), array)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Move a partition to another leader."""
        self._call("partition_set_leader", topic.encode(), partition, broker)

    def stop(self, *brokers: int) -> None:
        """Take brokers down: they hang up, and nobody is let in. Theirs stay leaders in name."""
        for broker in brokers:
            self._call("broker_set_down", broker)

    def start(self, *brokers: int) -> None:
        """Bring brokers back."""
        for broker in brokers:
            self._call("broker_set_up", broker)

    def slow_down(self, broker: int, seconds: float) -> None:
        """Let a broker answer each request so much later."""
        self._call("broker_set_rtt", broker, int(1000 * seconds))

    def share_out_after(self, seconds: float) -> None:
        """Let a group that was empty wait so long for more members; 3 s if nothing is said."""
        self._call("group_initial_rebalance_delay_ms", int(1000 * seconds))

    def count(self) -> None:
        """Begin to count requests, for `requests`."""
        self._call("start_request_tracking")

    def requests(self, kind: int) -> int:
        """How many requests of a kind came since `count`."""
        number = ctypes.c_size_t()
        found = self._library.rd_kafka_mock_get_requests(
            ctypes.c_void_p(self._cluster), ctypes.byref(number)
        )
        each = ctypes.cast(found, ctypes.POINTER(ctypes.c_void_p))
        kinds = [
            self._library.rd_kafka_mock_request_api_key(ctypes.c_void_p(each[place]))
            for place in range(number.value)
        ]
        self._library.rd_kafka_mock_request_destroy_array(ctypes.c_void_p(found), number)
        return kinds.count(kind)

    def close(self) -> None:
        """End the cluster, and drop what kafka-python's clients of it left open.

        Their sockets wait for the garbage collector, and would else be a warning in another test.
        """
        self._library.rd_kafka_mock_cluster_destroy(ctypes.c_void_p(self._cluster))
        self._library.rd_kafka_destroy(ctypes.c_void_p(self._client))
        gc.collect()

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, f"rd_kafka_mock_{name}")
        function(ctypes.c_void_p(self._cluster), *arguments)


def records_of(servers: Sequence[str], topic: str) -> list[Any]:
    """Read a whole topic, as the library's records."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=list(servers), api_version=(2, 3), metrics_enabled=False
    )
    with contextlib.closing(consumer):
        parts = [
            structs.TopicPartition(topic, number)
            for number in consumer.partitions_for_topic(topic) or ()
        ]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        found: list[Any] = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for batch in consumer.poll(timeout_ms=200).values():
                found += batch
    return found


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        pytest.skip("confluent-kafka is not installed: nothing here was tested against Kafka")
    folder = Path(found.origin).parents[1] / "confluent_kafka.libs"
    # The wheel's own libraries must be there before librdkafka asks for them.
    import confluent_kafka  # noqa: F401

    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_get_requests.restype = ctypes.c_void_p
    library.rd_kafka_mock_request_api_key.restype = ctypes.c_int16
    return library
