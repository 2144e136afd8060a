"""Which columns of a file are which input of the model. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from coppice import artifact, errors

Mapped: TypeAlias = Mapping[str, Sequence[str]]
"""For each input of the model the columns that it is made of, in order."""

ID = "id"
"""The column that is carried through unless another is named, where the file has one."""


def id_name(asked: str | None, names: Sequence[str], used: Sequence[str]) -> str | None:
    """Return the column with the ids: the one asked for, else `id` where no input is made of it.

    >>> id_name(None, ["id", "x"], ["x"])
    'id'

    Raises
    ------
    InputError
        The one asked for is not there.
    """
    if asked is not None:
        if asked not in names:
            raise lacks([asked], names)
        return asked
    return ID if ID in names and ID not in used else None


def read_columns(texts: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Read `--columns` options: `input=column,column`; `age*` stands for all that begin so.

    >>> read_columns(["x=b,p*"], ["p1", "a", "p0", "b"])
    {'x': ['b', 'p1', 'p0']}

    Raises
    ------
    InputError
        One has no `=`, or names a column that the file lacks.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        if not name or not listed:
            message = f"--columns {text!r}: write INPUT=COLUMN,COLUMN"
            raise errors.InputError(message)
        found[name.strip()] = [one for part in listed.split(",") for one in _named(part, names)]
    return found


def _named(part: str, names: Sequence[str]) -> list[str]:
    wanted = part.strip()
    matching = (
        [name for name in names if name.startswith(wanted[:-1])]
        if wanted.endswith("*") and wanted not in names
        else [wanted]
    )
    if not matching or matching[0] not in names:
        raise lacks([wanted], names)
    return matching


def resolve(
    manifest: artifact.Manifest, names: Sequence[str], columns: Mapped
) -> dict[str, list[str]]:
    """Find the columns of each input: those named, one of its own name, or `x[0]`, `x[1]`, ...

    >>> one = artifact.Manifest(name="m", task="binary", classes=("n", "y"), accepted=1.0,
    ...     accepted_rows=1, created_at=0.0, inputs=(artifact.TensorSpec("x", "float32", (2,)),))
    >>> resolve(one, ["x_1", "x_0"], {})
    {'x': ['x_0', 'x_1']}

    Raises
    ------
    InputError
        An input's columns are not there, or are not as many as it takes.
    """
    return {spec.name: _resolve(spec, names, columns.get(spec.name)) for spec in manifest.inputs}


def _resolve(
    spec: artifact.TensorSpec, names: Sequence[str], given: Sequence[str] | None
) -> list[str]:
    size = math.prod(spec.shape)
    if given is not None:
        if len(given) not in {1, size}:
            message = (
                f"--columns names {len(given)} columns for input {spec.name!r}, which takes "
                f"{size} numbers for each row"
            )
            raise errors.InputError(message)
        return list(given)
    if spec.name in names:
        return [spec.name]
    for pattern in ("{}[{}]", "{}_{}"):
        numbered = [pattern.format(spec.name, index) for index in range(size)]
        if numbered[0] in names:
            missing = [name for name in numbered if name not in names]
            if missing:
                raise lacks(missing, names)
            return numbered
    message = (
        f"no column {spec.name!r}, nor {spec.name}[0] to {spec.name}[{size - 1}]; name the columns "
        f"of that input with --columns {spec.name}=COLUMN,COLUMN. The file has {_some(names)}"
    )
    raise errors.InputError(message)


def lacks(missing: Sequence[str], names: Sequence[str]) -> errors.InputError:
    """Return the error of columns that a file has not got."""
    return errors.InputError(f"the file has no column {_some(missing)}; it has {_some(names)}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown}, ... ({len(names)})" if len(names) > 8 else shown or "none"
