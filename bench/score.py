"""Offline scoring against the shortest loop that scores the same file with ONNX Runtime.

Both read the same Parquet file of rows of 784 numbers and write the answers to another; rounds are
interleaved. Processor time is what is compared, so that a busy machine does not decide. `--quick`
is a small run of the same code.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet
import report

from coppice import artifact
from coppice_cli import scoring as jobs
from tests.support import artifacts, scoring, serving

WIDTH, CLASSES = 784, 10
ROWS, QUICK_ROWS = 60_000, 2_000
ROUNDS, QUICK_ROUNDS = 5, 2
BATCH = 256
TARGET = 0.8

NOTES = """One Parquet file of rows of 784 float32 in a list column, row groups of 10,000, one
thread each. *plain loop*: pyarrow reads batches of 256 rows, ONNX Runtime answers, the scores go
into a Parquet file; nothing is checked, nothing survives a kill. *coppice score*: the same model
and batch through the command's own code: digests verified, each value checked, parts committed to
the disk, resumable. Rows a second of processor time (user and system), median of interleaved
rounds."""


def main() -> None:
    """Run the rounds and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and rounds")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    count = QUICK_ROWS if options.quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), count, QUICK_ROUNDS if options.quick else ROUNDS)
    speeds = {name: count / statistics.median(times) for name, times in found.items()}
    ratio = speeds["coppice score"] / speeds["plain loop"]
    report.Report(
        name="score",
        title="Scoring a file: against the shortest loop",
        rows=[
            {"contestant": name, "rows/s of processor time": round(speed), "rows": count}
            for name, speed in speeds.items()
        ],
        targets=[report.Target("coppice score over the plain loop", round(ratio, 2), ">=", TARGET)],
        packages=("onnxruntime", "pyarrow", "numpy"),
        notes=NOTES,
    ).write(options.out)


def run(folder: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each round, by contestant; the first round warms up."""
    made = scoring.project(folder / "project")
    draw = np.random.default_rng(0)
    weight = draw.standard_normal((WIDTH, CLASSES)).astype(np.float32) / WIDTH
    classes = tuple(map(str, range(CLASSES)))
    tag = made.add(artifacts.linear_classifier, weight=weight, classes=classes)
    source = folder / "rows.parquet"
    values = draw.standard_normal(count * WIDTH).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), WIDTH)
    pa.parquet.write_table(pa.table({"x": column}), source, row_group_size=10_000)
    contestants: dict[str, Callable[[Path], Any]] = {
        "plain loop": lambda output: plain(made.path(tag) / artifact.MODEL, source, output),
        "coppice score": lambda output: ours(made, tag, source, output),
    }
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            began = time.process_time()
            contestant(folder / f"{number}.parquet")
            if number:
                found[name].append(time.process_time() - began)
            (folder / f"{number}.parquet").unlink()
    shutil.rmtree(folder / "project")
    return found


def plain(model: Path, source: Path, output: Path) -> None:
    """Score a file with nothing but pyarrow and ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answers = []
    file = pa.parquet.ParquetFile(source)
    for batch in file.iter_batches(BATCH, use_threads=False):
        rows = batch["x"].flatten().to_numpy().reshape(-1, WIDTH)
        answers.append(session.run(["scores"], {"x": rows})[0])
    scores = np.concatenate(answers)
    columns = {f"score.{name}": scores[:, name] for name in range(CLASSES)}
    columns["label"] = scores.argmax(axis=1)
    pa.parquet.write_table(pa.table(columns), output)


def ours(made: serving.Project, tag: str, source: Path, output: Path) -> None:
    """Score a file as the command does."""
    wish = jobs.Wish(source=source, output=output, version=tag, batch_rows=BATCH)
    jobs.score(made.tree, wish, _silent)


def _silent(rows: int, share: float) -> None:
    del rows, share


if __name__ == "__main__":
    main()
