"""A long attack on a running server: made-up requests, and bodies that lie; no 5xx may come of it.

Usage: ``python bench/fuzz.py [--seconds 300] [--quick]``; ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import sys
import tempfile
import time
from pathlib import Path
from urllib import parse

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.support import fuzz, serving

LIES = 0.4
"""Share of the time that goes into bodies that lie; the rest into the published document."""

BATCH = 500
MOST_GROWTH = 64 * 2**20


def main() -> int:
    """Attack, print what was counted, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="a few seconds of the same")
    options = parser.parse_args()
    seconds = 4 if options.quick else options.seconds
    with tempfile.TemporaryDirectory() as folder:
        fields = {"port": serving.free_port(), "max_body_bytes": 2**20}
        with serving.server(serving.project(Path(folder) / "project", serve=fields)) as running:
            return attack(running, Path(folder), seconds)


def attack(running: serving.Server, folder: Path, seconds: int) -> int:
    """Attack a server for so long; its memory is compared with that after the first lies."""
    lie(running, time.monotonic() + seconds * LIES / 2, seed=1)
    before = memory(running)
    statuses = lie(running, time.monotonic() + seconds * LIES / 2, seed=1_000_000)
    print(f"bodies that lie, second half: {dict(sorted(statuses.items()))}")
    made_up = int(seconds * (1 - LIES))
    examples = 20 if seconds < 60 else 2_000
    report = fuzz.from_document(running.url, folder, seconds=made_up, examples=examples)
    print(report.stdout[-20_000:], report.stderr[-1_000:])
    growth = memory(running) - before
    alive = serving.is_ready(running)
    print(f"memory grew by {growth / 2**20:.1f} MiB; still ready: {alive}")
    bad = sum(count for status, count in statuses.items() if status >= 500)
    found = bad or report.returncode or not alive or growth > MOST_GROWTH
    return 1 if found else 0


def lie(running: serving.Server, until: float, seed: int) -> collections.Counter[int]:
    """Send bodies that lie, and count the statuses that come back."""
    place = parse.urlsplit(running.url)
    statuses: collections.Counter[int] = collections.Counter()
    with contextlib.closing(http.client.HTTPConnection(place.netloc, timeout=30)) as connection:
        while time.monotonic() < until:
            for body, headers in fuzz.bodies(BATCH, seed):
                connection.request("POST", serving.INFER, body, headers)
                response = connection.getresponse()
                response.read()
                statuses[response.status] += 1
                if response.status >= 500:
                    print(f"{response.status} for {body[:500]!r} with {headers}")
            seed += 1
    return statuses


def memory(running: serving.Server) -> int:
    """Return the resident bytes of all processes of the server."""
    return sum(process.memory_info().rss for process in running.family())


if __name__ == "__main__":
    sys.exit(main())
