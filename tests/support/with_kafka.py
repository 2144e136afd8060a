"""Run a command with mock brokers beside it, named in its environment, as `make demo-kafka` does.

Usage: python -m tests.support.with_kafka COMMAND [ARGUMENT ...]

The exit code is the command's. The brokers live in this process and keep all in memory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence

from coppice.eventlog import envelope
from tests.support import kafka


def main(command: Sequence[str]) -> int:
    with contextlib.closing(kafka.Cluster()) as cluster:
        cluster.make_topics(*envelope.all_topics())
        environment = {
            **os.environ,
            "COPPICE_EVENTS__BACKEND": "kafka",
            "COPPICE_KAFKA__SERVERS": ",".join(cluster.servers),
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
