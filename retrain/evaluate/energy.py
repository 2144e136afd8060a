"""What a run of the model costs in joules, where the machine counts them (RAPL on Linux).

Intel and AMD processors count the energy of each package; the kernel shows the counters under
/sys/class/powercap, readable by root alone on many machines. The figure is that of the whole
package while the model runs, idle power and neighbours included: good for comparing two models on
a quiet machine, not for a bill.

References
----------
Linux kernel, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from coppice import clock

POWERCAP = Path("/sys/class/powercap")
SECONDS = 0.5
"""Least time of a measurement; the counters move about a thousand times a second."""


class Counter(NamedTuple):
    """One package's energy counter."""

    folder: Path
    most: int
    """Microjoules at which it starts again at 0."""

    def read(self) -> int:
        """Return the microjoules counted so far.

        Raises
        ------
        OSError
            It may not be read.
        """
        return int((self.folder / "energy_uj").read_text(encoding="ascii"))


def counters(root: Path = POWERCAP) -> tuple[Counter, ...]:
    """Return the packages' counters that can be read; none on most virtual machines."""
    found = []
    # A package is `intel-rapl:0`; its parts (`intel-rapl:0:1`) are counted in it already.
    for folder in sorted(root.glob("intel-rapl:*")):
        if folder.name.count(":") > 1:
            continue
        try:
            most = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
            counter = Counter(folder, most)
            counter.read()
        except (OSError, ValueError):
            continue
        found.append(counter)
    return tuple(found)


def joules(
    run: Callable[[], object], packages: tuple[Counter, ...], *, timer: clock.Clock
) -> float | None:
    """Return the joules of one call of `run`, averaged over half a second of calls.

    `None` without counters, or where one stops being readable.
    """
    if not packages:
        return None
    try:
        before = [counter.read() for counter in packages]
        calls, start = 0, timer.monotonic()
        while calls == 0 or timer.monotonic() - start < SECONDS:
            run()
            calls += 1
        after = [counter.read() for counter in packages]
    except (OSError, ValueError):
        return None
    spent = sum(
        # A counter that ran over stands lower than before.
        late - early if late >= early else late - early + counter.most
        for counter, early, late in zip(packages, before, after, strict=True)
    )
    return spent / 1e6 / calls
