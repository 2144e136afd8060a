"""What is measured of a structure, and by what it may be served."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from coppice import artifact
from retrain import timing

Target: TypeAlias = Literal["latency", "size", "memory", "macs"]
TARGETS: tuple[Target, ...] = get_args(Target)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """What runs a graph, and what it computes in."""

    engine: artifact.Engine = "onnxruntime"
    precision: artifact.Precision = "fp32"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.engine} {self.precision}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """What is measured, and on what.

    Attributes
    ----------
    target
        One of `TARGETS`.
    batch, threads
        Rows answered at once, and threads of one run.
    ways
        What may run the graph: the plain one first, which runs the dense model too and whose size
        and memory count; time is that of the fastest.
    min_gain
        How many times as fast as the first any other has to be.
    """

    target: Target = "latency"
    batch: int = 1
    threads: int = 1
    ways: tuple[Way, ...] = (Way(),)
    min_gain: float = 1.1

    @property
    def clock(self) -> Literal["wall", "cpu"]:
        """The clock that judges: one thread's time on a core leaves out what else is running."""
        return "cpu" if self.threads == 1 else "wall"

    def contestant(self, name: str, graph: Path, way: Way | None = None) -> timing.Contestant:
        """Return a graph that is to be timed on these terms, the first way unless one is named."""
        by = way or self.ways[0]
        return timing.Contestant(
            name=name,
            path=str(graph),
            engine=by.engine,
            precision=by.precision,
            threads=self.threads,
        )

    def key(self) -> dict[str, object]:
        """Return all of it that a cost follows from, with the machine's part."""
        told: dict[str, object] = {"target": self.target, "torch": _version("torch")}
        if self.target in {"latency", "memory"}:
            told |= dataclasses.asdict(self) | {
                "runtime": {way.engine: _version(way.engine) for way in self.ways},
                "processor": processor(),
            }
        return told


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """Return the name of this machine's processor, as its kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} {platform.processor()}"
