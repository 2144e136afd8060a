from __future__ import annotations

import socket

from coppice.eventlog import brokers


class TestReachable:
    def test_a_port_where_somebody_listens_is(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            assert brokers.reachable(["127.0.0.1:1", f"127.0.0.1:{port}"])

    def test_a_port_where_nobody_listens_is_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        assert not brokers.reachable([f"127.0.0.1:{port}"])

    def test_an_address_may_stand_in_brackets_as_those_of_ipv6_must(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            assert brokers.reachable([f"[127.0.0.1]:{listening.getsockname()[1]}"])

    def test_a_name_that_nobody_knows_is_not(self) -> None:
        assert not brokers.reachable(["no-such-host.invalid:9092"])


class TestPauses:
    def test_a_cluster_that_is_gone_is_asked_less_and_less_often(self) -> None:
        # 0.25 doubles to 4, then 8 is capped at 5.
        found = [brokers.pause(attempts) for attempts in range(1, 8)]
        assert found == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]

    def test_an_outage_of_days_does_not_overflow(self) -> None:
        assert brokers.pause(1_000_000) == 5.0
