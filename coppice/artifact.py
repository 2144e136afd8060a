"""An artifact: one folder that holds all that serving, judging and retraining need of a version.

===================== =========================================================================
manifest.json         what the version is, and the SHA-256 of every other file
model.onnx            the graph that serves: `scores` and, where the model has one, `embedding`
weights.safetensors   the trained weights
surgery.json          what was cut, replayable on the user's model factory
monitoring.safetensors  the basis for features: `pca.mean`, `pca.components`, `calibration.*`
reference.safetensors `features` [rows, F], `targets`, `scores` of clean rows, `slice.*` marks
card.json             lineage and every measured figure
===================== =========================================================================

No file is ever unpickled. The version's id is the digest of the manifest, which holds the digests
of everything else: whoever edits a byte changes the name.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from coppice import errors, labels, numbers, records

SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
WEIGHTS = "weights.safetensors"
SURGERY = "surgery.json"
MONITORING = "monitoring.safetensors"
REFERENCE = "reference.safetensors"
CARD = "card.json"
REQUIRED = (MODEL, CARD)
ID_LENGTH = 12

Engine: TypeAlias = Literal["onnxruntime", "openvino"]
"""What runs a graph; `openvino` needs the extra of that name."""
Precision: TypeAlias = Literal["fp32", "bf16", "int8"]
"""What a graph computes in: `int8` lies in the graph itself, `bf16` is asked of the engine."""


class TensorSpec(msgspec.Struct, frozen=True):
    """One named input: numpy dtype name and the shape of one row, without the batch dimension.

    Raises
    ------
    ValueError
        The dtype is not one that numpy knows, or the shape is negative.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what no array can be."""
        try:
            np.dtype(self.dtype)
        except TypeError as cause:
            message = f"input {self.name!r} has the unknown dtype {self.dtype!r}"
            raise ValueError(message) from cause
        if min(self.shape, default=0) < 0:
            message = f"input {self.name!r} has the shape {list(self.shape)}"
            raise ValueError(message)


class Codes(msgspec.Struct, frozen=True):
    """Whole numbers that an input may hold: the places of a table that the model looks them up in.

    `low` and `high` are the least and the greatest: one for all elements of a row, or one for each,
    in the order of the flattened row.

    Raises
    ------
    ValueError
        They are not as many, or none lies between them.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse bounds that nothing fits."""
        pairs = list(zip(self.low, self.high, strict=False))
        uneven = not pairs or len(self.low) != len(self.high)
        if uneven or any(low > high for low, high in pairs):
            message = f"codes from {self.low[:4]} to {self.high[:4]} hold none"
            raise ValueError(message)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is. `files` maps each file's name to its SHA-256.

    Raises
    ------
    ValueError
        There are no inputs, two share a name, the classes do not fit the task, codes belong to no
        input, or the engine cannot compute in that precision.
    """

    schema: int = SCHEMA
    name: str
    task: labels.Task
    classes: tuple[str, ...] = ()
    """Class names in the order of the scores; empty for regression."""
    inputs: tuple[TensorSpec, ...]
    codes: dict[str, Codes] = {}
    """What inputs may hold that are looked up in a table, by name; whatever fits the dtype, where
    an input has no entry."""
    features: tuple[str, ...] = ()
    """Names of the monitoring features, in the order of their columns; at most 32."""
    scale: float = 1.0
    """For regression: the error that counts as wholly wrong, in units of the target."""
    engine: Engine = "onnxruntime"
    """What the graph was judged on, and is therefore served by."""
    precision: Precision = "fp32"
    parent: str | None = None
    """Tag of the dense parent; `None` for a dense parent itself."""
    accepted: float
    """Mean score on the holdout at acceptance (accuracy for classification), in [0, 1]."""
    accepted_rows: int
    created_at: float
    files: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse a manifest that no version could have."""
        names = [spec.name for spec in self.inputs]
        if not names or len(set(names)) < len(names):
            message = f"a version needs inputs with names of their own; got {names}"
            raise ValueError(message)
        whole = [spec for spec in self.inputs if np.dtype(spec.dtype).kind in "iu"]
        sizes = {spec.name: math.prod(spec.shape) for spec in whole}
        for name, codes in self.codes.items():
            if name not in sizes or len(codes.low) not in {1, sizes[name]}:
                message = f"the codes of {name!r} fit no input of whole numbers: {sizes}"
                raise ValueError(message)
        least, most = {"regression": (0, 0), "binary": (2, 2)}.get(self.task, (2, None))
        if len(self.classes) < least or (most is not None and len(self.classes) > most):
            message = f"the task {self.task} does not go with the classes {list(self.classes)}"
            raise ValueError(message)
        if (self.engine, self.precision) == ("onnxruntime", "bf16"):
            message = "onnxruntime computes in fp32 or int8 here, bf16 needs openvino"
            raise ValueError(message)


class _Schema(msgspec.Struct):
    """Read first: a manifest of another schema may have other fields."""

    schema: int = SCHEMA


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Seal a folder: digest every file into the manifest, write it, and return the tag."""
    files = {
        path.relative_to(folder).as_posix(): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    sealed = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(sealed)) + b"\n")
    return tag(folder)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest without checking the other files.

    Raises
    ------
    ArtifactError
        There is none, it does not parse, or its schema is not known.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            message = f"{folder} has schema {schema}, this version reads {SCHEMA}; upgrade Coppice"
            raise errors.ArtifactError(message)
        return msgspec.json.decode(content, type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as cause:
        message = f"{folder} has no {MANIFEST}, so it is not an artifact"
        raise errors.ArtifactError(message) from cause
    except msgspec.MsgspecError as cause:
        message = f"{folder / MANIFEST} does not parse ({cause}); restore the artifact"
        raise errors.ArtifactCorrupt(message) from cause


def tag(folder: Path) -> str:
    """Return `name:id`, where the id is the start of the manifest's own digest."""
    return f"{read_manifest(folder).name}:{digest(folder / MANIFEST)[:ID_LENGTH]}"


def verify(folder: Path, expected_tag: str | None = None) -> Manifest:
    """Check every digest, and the manifest's own against the tag where one is given.

    Raises
    ------
    ArtifactCorrupt
        A file is missing, added or altered, or the manifest is not the one that the tag names.
    """
    manifest = read_manifest(folder)
    if expected_tag is not None and tag(folder) != expected_tag:
        message = f"{folder} is {tag(folder)}, not {expected_tag}: its manifest was edited"
        raise errors.ArtifactCorrupt(message)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # BentoML's model store adds its own description beside our files.
    found -= {MANIFEST, "model.yaml"}
    for name in sorted(found ^ set(manifest.files) | set(REQUIRED) - found):
        state = "is missing" if name not in found else "is not in the manifest"
        message = f"{folder}: {name} {state}; restore the artifact or pack it again"
        raise errors.ArtifactCorrupt(message)
    for name, expected in manifest.files.items():
        if digest(folder / name) != expected:
            message = f"{folder}: {name} was altered; restore the artifact or pack it again"
            raise errors.ArtifactCorrupt(message)
    return manifest


def load_tensors(folder: Path, name: str) -> dict[str, npt.NDArray[np.generic]]:
    """Read one of the `.safetensors` files; empty where the artifact has none.

    Raises
    ------
    ArtifactCorrupt
        The file is there but does not parse.
    """
    path = folder / name
    if not path.exists():
        return {}
    try:
        return dict(safetensors.numpy.load_file(path))
    except safetensors.SafetensorError as cause:
        message = f"{path} does not parse ({cause}); restore the artifact or pack it again"
        raise errors.ArtifactCorrupt(message) from cause


def check_inputs(manifest: Manifest, inputs: Mapping[str, npt.NDArray[np.generic]]) -> int:
    """Check a request's tensors against the manifest and return the number of rows.

    Raises
    ------
    RequestError
        A name, dtype or shape is wrong, row counts differ, a value is NaN or infinite, or a code
        is none that the model knows.
    """
    specs = manifest.inputs
    expected = sorted([spec.name for spec in specs])
    if sorted(inputs) != expected:
        message = f"inputs are {sorted(inputs)}, but the model takes {expected}"
        raise errors.RequestError(message)
    rows = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
    if len(rows) != 1 or min(rows) < 1:
        got = {name: array.shape[0] if array.ndim else -1 for name, array in inputs.items()}
        message = f"every input needs the same number of rows, at least 1; got {got}"
        raise errors.RequestError(message)
    for spec in specs:
        _check_input(spec, inputs[spec.name])
    if manifest.codes:
        for row, reason in unknown_codes(manifest, inputs):
            message = f"row {row} (the first is 0): {reason}"
            raise errors.RequestError(message)
    return rows.pop()


def unknown_codes(
    manifest: Manifest, inputs: Mapping[str, npt.NDArray[np.generic]]
) -> Iterator[tuple[int, str]]:
    """Yield rows that hold a code which the model cannot look up, each with the reason.

    Runtimes fail at a code beyond the table, with all rows of the batch, and count a negative one
    from the table's end.

    Parameters
    ----------
    inputs
        Of the manifest's dtypes and shapes, rows first.
    """
    for name, codes in manifest.codes.items():
        array: npt.NDArray[Any] = inputs[name]
        flat = array.reshape(len(array), math.prod(array.shape[1:]))
        low, high = _bounds(codes, array.dtype)
        unknown = (flat < low) | (flat > high)
        if not unknown.any():
            continue
        for row in np.flatnonzero(unknown.any(axis=1)).tolist():
            at = int(unknown[row].argmax())
            bound = at if len(codes.low) > 1 else 0
            place = [int(index) for index in np.unravel_index(at, array.shape[1:])]
            where = f" at {place}" if place else ""
            reason = (
                f"input {name!r} holds the code {flat[row, at]}{where}, but the model knows only "
                f"{codes.low[bound]} to {codes.high[bound]} there; map what is not among these to "
                "a code that it was trained with"
            )
            yield row, reason


@functools.lru_cache(maxsize=256)
def _bounds(
    codes: Codes, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """Return the bounds in an input's own dtype, where comparing is cheap and exact."""
    whole = np.iinfo(dtype)
    low, high = (
        np.array([min(max(end, whole.min), whole.max) for end in ends], dtype=dtype)
        for ends in (codes.low, codes.high)
    )
    return low, high


def _check_input(spec: TensorSpec, array: npt.NDArray[np.generic]) -> None:
    if records.dtype_name(array.dtype) != spec.dtype:
        message = f"input {spec.name!r} has dtype {array.dtype.name}, expected {spec.dtype}"
        raise errors.RequestError(message)
    if array.shape[1:] != spec.shape:
        wanted = ["rows", *spec.shape]
        message = f"input {spec.name!r} has shape {list(array.shape)}, expected {wanted}"
        raise errors.RequestError(message)
    if numbers.is_float(array.dtype) and not np.isfinite(array).all():
        message = f"input {spec.name!r} holds NaN or infinite values; send finite numbers"
        raise errors.RequestError(message)
