"""A program that ties itself to its parent and then becomes another program.

Run as `python -I -S tether.py PARENT_PID PROGRAM ARGUMENTS...`. Where the parent dies, even by
kill -9, the kernel sends SIGTERM, so that no process of `coppice up` is left without it. Only Linux
can do that (prctl, PR_SET_PDEATHSIG); elsewhere the program simply runs on.

It imports nothing of ours: it runs for some milliseconds before every child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie(parent: int) -> None:
    """Ask for SIGTERM at the parent's death; exit where it died already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def become(argv: list[str]) -> None:
    """Replace this process by a program."""
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the supervisor names the program
    except OSError as cause:
        sys.exit(f"cannot start {argv[0]}: {cause.strerror}")


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    become(sys.argv[2:])
