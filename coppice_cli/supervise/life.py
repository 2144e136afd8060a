"""The life of one supervised process: what to do next, as a pure function of what is seen of it.

::

    down -> starting -> running          crashed (or not ready in time) -> waiting -> starting
                                         crashed too often -> given up
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, TypeAlias

Phase: TypeAlias = Literal["down", "starting", "running", "waiting", "given up"]
Move: TypeAlias = Literal["nothing", "start", "clear away"]
"""`clear away`: end what is left of the process and of all that it started."""

HOPELESS = frozenset({2})
"""Exit codes of settings and project errors: starting again cannot mend them."""
PASSING = frozenset({9})
"""Exit codes of trouble outside this machine, such as a cluster that is stuck: however long that
lasts, the rest of the loop goes on, so nobody is given up for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How often, and after what pause, a process is started again."""

    first_seconds: float = 0.5
    """Pause after the first crash."""
    factor: float = 2.0
    """Growth of the pause with each further crash."""
    cap_seconds: float = 30.0
    """Longest pause."""
    stable_seconds: float = 60.0
    """A process that ran so long starts again as if it had never crashed."""
    limit: int = 5
    """So many crashes without a stable run between them, and it is given up."""

    def pause(self, crashes: int) -> float:
        """Return the pause after so many crashes in a row, seconds.

        >>> [Patience(cap_seconds=3.0).pause(crashes) for crashes in (1, 2, 3, 4)]
        [0.5, 1.0, 2.0, 3.0]
        """
        return min(self.first_seconds * self.factor ** (crashes - 1), self.cap_seconds)


@dataclasses.dataclass(frozen=True)
class Life:
    """What is known of a process.

    Attributes
    ----------
    phase
        Where it stands.
    since
        When the phase began, on the monotonic clock; while `waiting`, when it ends.
    crashes
        Crashes in a row, without a stable run between them.
    restarts
        How often it was started again.
    reached
        Whether it was ever ready, so that the next one in line may start.
    reason
        Why it last stopped.
    """

    phase: Phase = "down"
    since: float = 0.0
    crashes: int = 0
    restarts: int = 0
    reached: bool = False
    reason: str = ""


class Look(NamedTuple):
    """What is seen of a process at one moment."""

    exit_code: int | None
    """`None` while it is alive; negative for the signal that ended it."""
    ready: bool = False


ABSENT = Look(exit_code=None)


def next_move(
    life: Life, look: Look, patience: Patience, ready_seconds: float, now: float
) -> tuple[Life, Move]:
    """Say what to do with a process, and what is known of it afterwards.

    Parameters
    ----------
    life
        What was known.
    look
        What is seen.
    patience
        How often to start it again.
    ready_seconds
        It must be ready so long after its start.
    now
        Monotonic seconds.
    """
    match life.phase:
        case "down":
            return _started(life, now), "start"
        case "waiting" if now >= life.since:
            again = dataclasses.replace(life, restarts=life.restarts + 1)
            return _started(again, now), "start"
        case "starting" | "running" if look.exit_code is not None:
            return _crashed(life, look.exit_code, patience, now), "clear away"
        case "starting" if look.ready:
            return dataclasses.replace(life, phase="running", since=now, reached=True), "nothing"
        case "starting" if now - life.since >= ready_seconds:
            reason = f"was not ready after {ready_seconds:g} s"
            return _wait(life, life.crashes + 1, reason, patience, now), "clear away"
        case _:
            return life, "nothing"


def _started(life: Life, now: float) -> Life:
    return dataclasses.replace(life, phase="starting", since=now)


def _crashed(life: Life, exit_code: int, patience: Patience, now: float) -> Life:
    reason = f"was ended by signal {-exit_code}" if exit_code < 0 else f"exited with {exit_code}"
    if exit_code in HOPELESS:
        return dataclasses.replace(life, phase="given up", since=now, reason=reason)
    stable = life.phase == "running" and now - life.since >= patience.stable_seconds
    crashes = 1 if stable else life.crashes + 1
    if exit_code in PASSING:
        # Long pauses as after many crashes, but never the last one.
        crashes = min(crashes, patience.limit - 1)
    return _wait(life, crashes, reason, patience, now)


def _wait(life: Life, crashes: int, reason: str, patience: Patience, now: float) -> Life:
    if crashes >= patience.limit:
        return dataclasses.replace(
            life, phase="given up", since=now, crashes=crashes, reason=reason
        )
    until = now + patience.pause(crashes)
    return dataclasses.replace(life, phase="waiting", since=until, crashes=crashes, reason=reason)
