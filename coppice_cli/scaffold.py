"""What `coppice init` writes: a project that runs as it is, to be replaced piece by piece.

The settings file is made from the settings tree itself, so its comments and defaults cannot go
stale.
"""

from __future__ import annotations

import dataclasses
import re
import string
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from coppice import errors
from coppice_cli import reference

if TYPE_CHECKING:
    from coppice import labels

SHOWN: dict[str, tuple[str, ...]] = {
    "prune": ("criterion", "amount", "finetune_epochs"),
    "gates": ("max_score_drop", "max_slice_drop", "min_latency_gain"),
    "serve": ("port", "threads"),
    "evidence": ("mode", "promote_margin", "audit_rate"),
    "decay": ("tolerance", "min_labels"),
    "retrain": ("enabled", "cooldown_seconds", "budget_per_day"),
    "rollout": ("auto", "steps", "step_seconds", "watch_seconds"),
}
"""The settings that people change first; the rest are in docs/reference/settings.md."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """The table that comes with scikit-learn on which a fresh project runs."""

    dataset: str
    loader: str
    features: int
    outputs: int
    eps: str
    targets: str
    classes: str
    slice_name: str
    slice_condition: str
    slice_true: str
    slice_false: str
    label: str


SAMPLES: dict[str, Sample] = {
    "binary": Sample(
        dataset="569 breast tumours, malignant or benign",
        loader="load_breast_cancer",
        features=30,
        outputs=2,
        eps="1e-8",
        targets="table.target[rows].astype(np.int64)",
        classes='classes=("malignant", "benign"),',
        slice_name="size",
        slice_condition="inputs[:, 0] > 13.5",
        slice_true="large",
        slice_false="small",
        label="benign",
    ),
    "multiclass": Sample(
        dataset="1,797 scans of handwritten digits",
        loader="load_digits",
        features=64,
        outputs=10,
        eps="1.0",
        targets="table.target[rows].astype(np.int64)",
        classes="classes=tuple(str(digit) for digit in range(10)),",
        slice_name="pen",
        slice_condition="inputs.sum(axis=1) > 313",
        slice_true="bold",
        slice_false="fine",
        label="7",
    ),
    "regression": Sample(
        dataset="442 diabetes patients and how far their disease went in a year",
        loader="load_diabetes",
        features=10,
        outputs=1,
        eps="1e-8",
        targets="table.target[rows].astype(np.float32) / 100",
        classes="# classes=(...) is for classification alone",
        slice_name="weight",
        slice_condition="inputs[:, 2] > 0.0",
        slice_true="high",
        slice_false="low",
        label="1.5",
    ),
}
"""By task."""


def project_name(folder: Path) -> str:
    """Derive a model's name from its folder.

    >>> project_name(Path("/home/me/My Digits (v2)"))
    'my-digits-v2'
    >>> project_name(Path("/"))
    'model'
    """
    name = re.sub(r"[^a-z0-9_]+", "-", folder.resolve().name.lower())[:63].strip("-_")
    return name or "model"


def files(folder: Path, task: labels.Task) -> dict[str, str]:
    """Return the text of each file of a fresh project, by its name."""
    sample = SAMPLES[task]
    name = project_name(folder)
    fields = {**dataclasses.asdict(sample), "name": name}
    zeros = ", ".join(["0"] * sample.features)
    return {
        "coppice.toml": settings_file(name, task),
        "project.py": _fill("project.py.txt", fields),
        "README.md": _fill("README.md.txt", {**fields, "zeros": zeros}),
        ".gitignore": ".coppice/\n__pycache__/\n",
    }


REQUIRED = ("coppice.toml", "project.py")
"""Files that must not be there yet; the others are left alone where they exist."""


def write(folder: Path, task: labels.Task) -> list[Path]:
    """Write a fresh project and return the paths written.

    Raises
    ------
    ProjectError
        The folder holds a project already, or cannot be written.
    """
    taken = [name for name in REQUIRED if (folder / name).exists()]
    if taken:
        message = f"{folder} holds {' and '.join(taken)} already; nothing was written"
        raise errors.ProjectError(message)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files(folder, task).items():
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8")
                written.append(folder / name)
    except OSError as cause:
        message = f"cannot write to {folder}: {cause}"
        raise errors.ProjectError(message) from cause
    return written


def settings_file(name: str, task: labels.Task) -> str:
    """Return a documented `coppice.toml`: what is chosen is set, defaults stand commented out."""
    lines = [
        "# Settings of this project. What is commented out shows its default.",
        "# Each can also be set by a variable: COPPICE_SERVE__PORT=8080 is [serve] port = 8080.",
        "# All settings: docs/reference/settings.md.",
        "",
        "[project]",
        f'name = "{name}"',
        f'task = "{task}"',
        *_commented("project", ("checkpoint", "seed")),
    ]
    if task == "regression":
        lines += _commented("project", ("scale",), commented=False)
    for section, names in SHOWN.items():
        lines += ["", f"[{section}]", *_commented(section, names)]
    return "\n".join(lines) + "\n"


def _commented(section: str, names: tuple[str, ...], *, commented: bool = True) -> list[str]:
    lines = []
    for field in reference.fields(section, names):
        lines += [f"# {line}" for line in reference.wrap(field.text, 96)]
        lines.append(f"{'# ' if commented else ''}{field.name} = {field.default}")
    return lines


def _fill(template: str, values: dict[str, object]) -> str:
    text = resources.files("coppice_cli").joinpath("templates", template).read_text("utf-8")
    return string.Template(text).substitute(values)
