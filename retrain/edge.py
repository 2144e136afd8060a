"""A version as a file for a place where Coppice does not run: ONNX, a torch program, or OpenVINO.

Called by `coppice export`. Takes a registered version; gives a file and a README beside it. What is
written appears only after it was loaded again and answered real rows like the version itself, and
it is timed beside the registered graph and the dense parent's, each in a process of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from coppice import artifact, errors, labels, openvino, project, runtime
from coppice.registry import base
from retrain import (
    edge_readme,
    onnx_export,
    program,
    proving,
    quantize,
    reference,
    served,
    timing,
    weights,
)
from retrain.evaluate import answers, latency, paired

Format: TypeAlias = Literal["onnx", "pt2", "openvino"]

PRECISIONS: Mapping[Format, tuple[artifact.Precision, ...]] = {
    "onnx": ("fp32", "int8"),
    "pt2": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
}
"""What each format can be written in, the usual one first."""
_SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "pt2": ".pt2", "openvino": ".xml"}
_ENGINES: Mapping[Format, timing.Engine] = {
    "onnx": "onnxruntime",
    "pt2": "torch",
    "openvino": "openvino",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    precision
        By default the version's own where the format has it, else fp32.
    folder
        Where the file goes; made if it is not there.

    Raises
    ------
    ValueError
        The format does not have that precision.
    """

    format: Format
    precision: artifact.Precision | None = None
    folder: Path

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        known = PRECISIONS[self.format]
        if self.precision is not None and self.precision not in known:
            message = f"{self.format} is written in {' or '.join(known)}, not in {self.precision}"
            raise ValueError(message)


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The file against a registered graph, each as it is served."""

    version: str
    size_ratio: float
    """Its bytes over those of the graph."""
    latency: latency.Latency
    """Batch 1; the graph first, the file second."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and what was measured of it."""

    path: str
    """The file to load; OpenVINO's `.bin` lies beside it."""
    readme: str
    version: str
    precision: artifact.Precision
    bytes: int
    rows: int
    """Real rows on which answers were compared."""
    gap: float
    """Largest difference of a probability, or of a value, to the version's own answers."""
    quality: paired.Comparison
    """Its score against the version's own."""
    registered: Beside
    parent: Beside | None = None
    """`None` where the version is itself a dense parent."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """The version that is written down."""

    own: project.Project
    folder: Path
    tag: str
    data: project.Data

    @functools.cached_property
    def manifest(self) -> artifact.Manifest:
        return artifact.read_manifest(self.folder)

    @functools.cached_property
    def rows(self) -> project.Split:
        """What answers are compared on: rows that no training saw."""
        both = reference.joined(self.data.validation, self.data.holdout)
        return reference.spread(both, reference.REFERENCE_ROWS)


def export(own: project.Project, registry: base.Registry, tag: str, wish: Wish) -> Exported:
    """Write a version in another format, check it, and time it.

    Raises
    ------
    UnknownVersion
        There is no such version.
    EngineMissing
        OpenVINO is asked for and not installed.
    ArtifactError
        The version cannot be written so, or what was written does not answer as it does.
    ProjectError
        The project no longer makes this version's model, or its data do not fit.
    """
    folder = registry.path(tag)
    manifest = artifact.verify(folder, tag)
    precision = wish.precision or _usual(manifest, wish.format)
    for engine in {manifest.engine, _ENGINES[wish.format]} - {"torch"}:
        runtime.require(msgspec.convert(engine, artifact.Engine))
    source = _Source(own=own, folder=folder, tag=tag, data=_data(own, manifest))
    wish.folder.mkdir(parents=True, exist_ok=True)
    # In the folder itself, so that moving is renaming.
    with tempfile.TemporaryDirectory(prefix=".coppice-", dir=wish.folder) as name:
        made = Path(name) / f"{manifest.name}-{precision}{_SUFFIXES[wish.format]}"
        _write(source, wish.format, precision, made)
        contestant = timing.Contestant(
            name="file", path=str(made), engine=_ENGINES[wish.format], precision=precision
        )
        scores = _answers(contestant, source.rows)
        gap, quality = _compare(source, scores, precision)
        registered, parent = _beside(source, registry, contestant)
        outputs = runtime.load(runtime.packed(folder)).outputs
        edge_readme.write(made, manifest, tag=tag, precision=precision, outputs=outputs)
        size = _bytes(made)
        for path in sorted(Path(name).iterdir()):
            shutil.move(path, wish.folder / path.name)
    final = wish.folder / made.name
    return Exported(
        path=str(final),
        readme=str(edge_readme.beside(final)),
        version=tag,
        precision=precision,
        bytes=size,
        rows=source.rows.rows,
        gap=gap,
        quality=quality,
        registered=registered,
        parent=parent,
    )


def _usual(manifest: artifact.Manifest, wanted: Format) -> artifact.Precision:
    known = PRECISIONS[wanted]
    return manifest.precision if manifest.precision in known else known[0]


def _data(own: project.Project, manifest: artifact.Manifest) -> project.Data:
    data = project.load_data(own)
    if reference.input_specs(data.train) != manifest.inputs or data.classes != manifest.classes:
        message = (
            f"load_data() gives other inputs or classes than {manifest.name} takes, so nothing can "
            "be compared; export it from the project as it was when the version was made"
        )
        raise errors.ProjectError(message)
    return data


def _write(source: _Source, wanted: Format, precision: artifact.Precision, path: Path) -> None:
    if wanted == "pt2":
        model = weights.rebuild(source.own.build_model, source.folder)
        program.save(model, source.data.validation, path, task=source.manifest.task)
        return
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        graph = _graph(source, precision, Path(name))
        if wanted == "openvino":
            openvino.convert(graph, path)
        else:
            shutil.copyfile(graph, path)


def _graph(source: _Source, precision: artifact.Precision, folder: Path) -> Path:
    """Return the graph in full precision or int8: the registered one where it is that."""
    registered, manifest = source.folder / artifact.MODEL, source.manifest
    if (precision == "int8") == (manifest.precision == "int8"):
        return registered
    plain, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    if manifest.precision == "int8":
        model = weights.rebuild(source.own.build_model, source.folder)
        onnx_export.export(model, source.data.validation, plain, task=manifest.task)
        return plain
    calibration = source.own.settings.pack.calibration_rows
    quantize.quantize(registered, int8, reference.spread(source.data.train, calibration))
    return int8


def _answers(contestant: timing.Contestant, split: project.Split) -> labels.Floats:
    """Load the file that was written, and ask it."""
    if contestant.engine != "torch":
        path = Path(contestant.path)
        packed = runtime.Packed(path, contestant.engine, contestant.precision)
        return answers.of_graph(packed, split)
    return answers.through(program.load(Path(contestant.path)), split)


def _compare(
    source: _Source, found: labels.Floats, precision: artifact.Precision
) -> tuple[float, paired.Comparison]:
    """Return the largest difference to the version's own answers, and the difference in score.

    Raises
    ------
    ArtifactError
        The one or the other is too large.
    """
    manifest, rows = source.manifest, source.rows
    own = answers.of_graph(runtime.packed(source.folder), rows)
    rules = proving.rules(source.own, manifest.classes)
    pairs = paired.pair(own, found, answers.targets(rows), task=rules.task, scale=rules.scale)
    quality = paired.compare(pairs, confidence=rules.confidence, seed=rules.seed)
    gap = onnx_export.gap(found, own, task=rules.task)
    if precision == manifest.precision == "fp32":
        # Not `gap > PARITY`: a NaN must not pass.
        if not gap <= onnx_export.PARITY:
            message = (
                f"the file answers up to {gap:.2g} otherwise than {source.tag}, more than "
                f"{onnx_export.PARITY}; nothing was written"
            )
            raise errors.ArtifactError(message)
        return gap, quality
    most = source.own.settings.pack.max_drop
    if quality.drop > most:
        message = (
            f"in {precision} it loses {100.0 * quality.drop:.2f} points of score against "
            f"{source.tag} on {quality.rows:,} rows and differs on "
            f"{100.0 * quality.disagreement:.2f}%, more than {100.0 * most:.2f} points; nothing "
            "was written. Take another precision, or raise pack.max_drop"
        )
        raise errors.ArtifactError(message)
    return gap, quality


def _beside(
    source: _Source, registry: base.Registry, file: timing.Contestant
) -> tuple[Beside, Beside | None]:
    """Time the file beside the registered graph, and the dense parent's where there is one."""
    tags = {"registered": source.tag}
    if source.manifest.parent is not None:
        tags["parent"] = source.manifest.parent
    graphs = {name: runtime.packed(registry.path(tag)) for name, tag in tags.items()}
    contestants = [
        timing.Contestant(
            name=name, path=str(graph.path), engine=graph.engine, precision=graph.precision
        )
        for name, graph in graphs.items()
    ]
    rows = served.rows(source.rows, 1).inputs
    rounds = timing.race([*contestants, file], rows)
    size = _bytes(Path(file.path))
    found = {
        name: Beside(
            version=tag,
            size_ratio=size / graphs[name].path.stat().st_size,
            latency=timing.gain(rounds, name, file.name, clock="cpu"),
        )
        for name, tag in tags.items()
    }
    return found["registered"], found.get("parent")


def _bytes(path: Path) -> int:
    """Return the size of a file, with that of the weights that lie beside an .xml."""
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(part.stat().st_size for part in parts)
