"""Hold mock brokers for as long as this process lives, for tests and for a look by hand.

Usage: python -m tests.support.kafka_host [PREFIX [PARTITIONS]]

Makes every topic that Coppice needs, prints the addresses, and ends with its standard input.
"""

from __future__ import annotations

import sys

from coppice.eventlog import envelope
from tests.support import kafka


def main(prefix: str = "", partitions: int = 2) -> None:
    cluster = kafka.Cluster()
    cluster.make_topics(*envelope.all_topics(prefix), partitions=partitions)
    sys.stdout.write(",".join(cluster.servers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.close()


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
