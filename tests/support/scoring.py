"""A project whose champion scores files, and such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from coppice import registry, runtime
from tests.support import artifacts, serving

COLUMNS = ("a", "b", "c", "d")
MAPPING = f"x={','.join(COLUMNS)}"


def project(root: Path, **sections: dict[str, Any]) -> serving.Project:
    """Set up a project whose registry knows the champion."""
    made = serving.project(root, **sections)
    registry.open_registry(made.tree).point(serving.MODEL, {"champion": made.champion})
    return made


def table(rows: artifacts.Floats) -> pa.Table:
    """The rows in four columns, with ids `r0`, `r1`, ..."""
    ids = [f"r{number}" for number in range(len(rows))]
    return pa.table({"id": ids} | {name: rows[:, i] for i, name in enumerate(COLUMNS)})


def write(path: Path, rows: artifacts.Floats, *, group: int = 1000) -> Path:
    """Write rows in the form that the path's ending says."""
    match path.suffix:
        case ".parquet":
            pa.parquet.write_table(table(rows), path, row_group_size=group)
        case ".csv":
            pa.csv.write_csv(table(rows), path)
        case ".npz":
            np.savez(path, x=rows, id=np.arange(len(rows)))
        case _:
            np.save(path, rows)
    return path


def expected(made: serving.Project, rows: artifacts.Floats) -> artifacts.Floats:
    """What the champion answers, by the runtime itself."""
    return runtime.Runtime(made.path(made.champion)).predict({"x": rows}).scores


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of an output."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as loaded:
            return dict(loaded)
    found = pa.parquet.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    return {name: found[name].to_numpy() for name in found.column_names}
