"""How much memory offline scoring takes follows from its stretches, not from the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.support import artifacts, scoring

WIDTH, ROWS = 784, 100_000
FILE_BYTES = 4 * WIDTH * ROWS
"""314 MB: seventy stretches."""
STRETCH_BYTES = 4 * 2**20
MOST_STRETCHES = 16
"""Held at once: the rows as Arrow has them and as numpy does, checked, answered and packed, of two
stretches that take turns, and what allocators keep back. Measured: 2 (arrays) and 8 (Parquet)."""
PROGRAM = """
import re, sys
from pathlib import Path
from coppice import columnar
from coppice_cli import main
from service import batch

def peak():
    # Not getrusage: its figure begins with that of the process that started this one.
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

def score(source):
    code = main.invoke(["score", source, f"{source}.npz", *sys.argv[3:]])
    assert code == 0, code

columnar.arrow()
batch.STRETCH_BYTES = int(sys.argv.pop(1))
score(sys.argv[1])
before = peak()
score(sys.argv[2])
print("KiB more:", peak() - before)
"""


def arrays(path: Path, rows: int) -> None:
    """Zeros, of which the disk holds none."""
    shape = (rows, WIDTH)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).flush()


def table(path: Path, rows: int) -> None:
    """Zeros in row groups of 500."""
    values = pa.array(np.zeros(500 * WIDTH, np.float32))
    group = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, WIDTH)})
    with pyarrow.parquet.ParquetWriter(path, group.schema) as writer:
        for _ in range(rows // 500):
            writer.write_table(group)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "write"), [(".npy", arrays), (".parquet", table)])
def test_a_file_of_seventy_stretches_takes_the_memory_of_a_few(
    tmp_path: Path, form: str, write: Callable[[Path, int], None]
) -> None:
    made = scoring.project(tmp_path / "project")
    wide = made.add(artifacts.linear_classifier, features_in=WIDTH)
    one, many = tmp_path / f"one{form}", tmp_path / f"many{form}"
    write(one, 500)
    write(many, ROWS)
    options = ["-C", str(made.tree.root), "--version", wide, "--batch-rows", "256"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(STRETCH_BYTES), str(one), str(many), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    more = 1024 * int(done.stdout.split("KiB more:")[1])
    assert more < MOST_STRETCHES * STRETCH_BYTES < FILE_BYTES / 4
    with np.load(f"{many}.npz") as found:
        assert len(found["row"]) == ROWS
