"""The files that a benchmark leaves behind: `results/NAME.json` and `results/NAME.md`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).resolve().parent / "results"


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound that a measured value must keep."""

    name: str
    value: float
    op: Literal[">=", "<="]
    target: float

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value >= self.target if self.op == ">=" else self.value <= self.target


@dataclasses.dataclass(frozen=True)
class Report:
    """What a benchmark found: rows of figures, targets, and a text for the reader."""

    name: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    targets: Sequence[Target]
    packages: Sequence[str]
    notes: str

    def table(self) -> str:
        """The rows as Markdown tables: a new one where the columns change."""
        alike = itertools.groupby(self.rows, key=list)
        return "\n\n".join(_table(names, list(rows)) for names, rows in alike)

    def write(self, folder: Path = RESULTS) -> None:
        """Write both files, and print the table."""
        folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "name": self.name,
            "date": datetime.now(tz=UTC).date().isoformat(),
            "machine": _machine(),
            "versions": {name: importlib.metadata.version(name) for name in self.packages},
            "rows": list(self.rows),
            "targets": [{**dataclasses.asdict(t), "holds": t.holds} for t in self.targets],
        }
        (folder / f"{self.name}.json").write_text(json.dumps(whole, indent=2) + "\n")
        (folder / f"{self.name}.md").write_text(self.text(whole))
        print(self.table())
        print(self.verdicts())

    def text(self, whole: Mapping[str, Any]) -> str:
        """The Markdown file."""
        machine = ", ".join(f"{key} {value}" for key, value in whole["machine"].items())
        about = f"{whole['date']}; {machine}"
        parts = [f"# {self.title}", about, self.notes, self.table(), self.verdicts()]
        return "\n\n".join(parts) + "\n"

    def verdicts(self) -> str:
        """One line for each target."""
        return "\n".join(
            f"- {t.name}: {t.value:g} (target {t.op} {t.target:g}): "
            f"{'holds' if t.holds else 'missed'}"
            for t in self.targets
        )


def _table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [names, ["---"] * len(names), *[[str(row[name]) for name in names] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *[[str(row[n]) for n in names] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
    }
