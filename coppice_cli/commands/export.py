"""`coppice export`: a version as a file for a place where Coppice does not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from retrain import edge

Format = Annotated[
    Literal["onnx", "pt2", "openvino"],
    typer.Option("--format", help="ONNX, a program of torch.export, or OpenVINO's .xml and .bin."),
]
Precision = Annotated[
    Literal["fp32", "bf16", "int8"] | None,
    typer.Option(help="By default the version's own; bf16 is for openvino, int8 not for pt2."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Where to write it; else under .coppice/exports."
    ),
]


def export(
    version: options.Version,
    form: Format,
    folder: options.Project = options.HERE,
    precision: Precision = None,
    out: Out = None,
    as_json: options.Json = False,
) -> None:
    """Write a version for a target where Coppice does not run, with how to load it.

    The file is loaded again and must answer the project's rows as the version
    does; its size and latency are told beside the registered graph's and the
    dense parent's.
    """
    from coppice import errors
    from coppice_cli import versions
    from retrain import edge

    tree = compose.settings_of(folder)
    registry = compose.registry_of(tree)
    tag = versions.tag_of(registry, tree.project.name, version)
    target = out or tree.home / "exports" / tag.replace(":", "-")
    try:
        wish = edge.Wish(format=form, precision=precision, folder=target)
    except ValueError as cause:
        raise typer.BadParameter(str(cause), param_hint="--precision") from cause
    try:
        made = edge.export(compose.project_of(tree), registry, tag, wish)
    except OSError as cause:
        message = f"nothing can be written to {target}: {cause}"
        raise errors.EnvironmentProblem(message) from cause
    if as_json:
        console.write_json(msgspec.to_builtins(made))
        return
    console.out().print(_line(made), markup=False, soft_wrap=True)


def _line(made: edge.Exported) -> str:
    from retrain.report import words

    against = {"the registered graph": made.registered, "the dense parent": made.parent}
    told = [(name, beside) for name, beside in against.items() if beside is not None]
    sizes = ", ".join(f"{beside.size_ratio:.2f} of {name}" for name, beside in told)
    speeds = ", ".join(
        f"{beside.latency.gain:.2f} times as fast as {name} (between {beside.latency.low:.2f} and "
        f"{beside.latency.high:.2f})"
        for name, beside in told
    )
    seconds = made.registered.latency.candidate_seconds
    return (
        f"{made.path}: {words.number(made.bytes, 'bytes')} ({sizes}); one row in "
        f"{console.duration(seconds)}, {speeds}; answers like {made.version} on {made.rows:,} rows "
        f"(largest difference {made.gap:.2g}, {100.0 * made.quality.drop:z.2f} points of score "
        "lost)"
    )
