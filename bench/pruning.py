"""Pruning on Fashion-MNIST: every criterion and random, five rates, three seeds, two networks.

Trainings are kept under build/bench-pruning, so that a killed run goes on; latencies are measured
anew, all in one process. `--quick` is a small run of the same code.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import pruning_nets
import pruning_notes
import pruning_plan
import pruning_runs
import pruning_search
import pruning_summary
import pruning_times
import report
import torch

from coppice import runtime
from coppice.project import Data
from retrain import onnx_export, quantize
from retrain.pruning import recipe, schedule

CALIBRATION_ROWS = 512
TEST_BATCH = 500


class Bench:
    """The trainings of a plan, and what is measured of them."""

    def __init__(self, plan: pruning_plan.Plan, data: Data, folder: Path) -> None:
        self.plan = plan
        self.data = data
        self.folder = folder
        self.runs = pruning_runs.Runs(plan.training, data)
        self.targets: list[report.Target] = []

    def train(self) -> None:
        """Make every training that is not there yet."""
        for net in self.plan.nets:
            for seed in self.plan.training.seeds:
                for name, how, rows in self._trainings(net):
                    make = self.runs.control if "control" in name else self.runs.pruned
                    make(net, seed, name, how, rows)

    def _trainings(self, net: str) -> list[tuple[str, recipe.Recipe, Any]]:
        chained = pruning_plan.chained_recipe(net, self.plan.epochs)
        whole = self.data.train
        cells = [
            (pruning_plan.cell(name, rate), pruning_plan.grid_recipe(net, name, rate), None)
            for name in self.plan.criteria
            for rate in self.plan.rates[net]
        ]
        control = pruning_plan.grid_recipe(net, pruning_plan.CONTROL, 0.5)
        return [
            ("chained", chained, whole),
            ("chained-control", chained, whole),
            ("control", control, None),
            *cells,
        ]

    def figures(self, net: str, name: str) -> list[dict[str, Any]]:
        """Return the kept figures of a training, one for each seed."""
        trainings = {training: (how, rows) for training, how, rows in self._trainings(net)}
        how, rows = trainings[name]
        make = self.runs.control if "control" in name else self.runs.pruned
        return [make(net, seed, name, how, rows) for seed in self.plan.training.seeds]

    def accuracies(self, net: str, name: str) -> list[float]:
        """Return the test accuracies of a training, one for each seed."""
        return [each["accuracy"] for each in self.figures(net, name)]

    def graph(self, net: str, seed: int, name: str) -> Path:
        """Return the exported graph of a training, or of the dense parent."""
        path = self.folder / f"{net}-{seed}-{name}.onnx"
        if not path.exists():
            dense = name == "dense"
            model = self.runs.parent(net, seed) if dense else self.runs.rebuilt(net, seed, name)
            onnx_export.export(model, self.data.validation, path, task=pruning_runs.TASK)
        return path

    def int8(self, net: str, seed: int) -> Path:
        """Return the int8 form of a chained graph."""
        path = self.folder / f"{net}-{seed}-int8.onnx"
        if not path.exists():
            rows = self.data.train.take(np.arange(min(CALIBRATION_ROWS, self.data.train.rows)))
            quantize.quantize(self.graph(net, seed, "chained"), path, rows)
        return path

    def tested(self, path: Path) -> float:
        """Return the test accuracy of a graph on the serving runtime."""
        session, split = runtime.Session(path), self.data.holdout
        found = [
            session.run({k: v[at : at + TEST_BATCH] for k, v in split.inputs.items()})["scores"]
            for at in range(0, split.rows, TEST_BATCH)
        ]
        return float((np.concatenate(found).argmax(axis=1) == split.targets).mean())

    def times(self, net: str) -> dict[int, dict[str, float]]:
        """Race the dense net, every rate's structure and the chained ones, batch 1 and 32."""
        seed = self.plan.training.seeds[0]
        # Rates cut the same number of channels whatever the criterion: one structure for each.
        some = self.plan.criteria[0]
        graphs = {f"{r:.3f}": pruning_plan.cell(some, r) for r in self.plan.rates[net]}
        paths = {name: self.graph(net, seed, cell) for name, cell in graphs.items()}
        paths |= {n: self.graph(net, seed, n) for n in ("dense", "chained")}
        paths["chained int8"] = self.int8(net, seed)
        models = {"eager": self.runs.parent(net, seed)}
        found = {}
        for batch in (1, 32):
            rows = self.data.holdout.take(np.arange(batch))
            contestants = pruning_times.runners(models, paths, rows)
            found[batch] = pruning_times.race(contestants, self.plan.rounds)
        return found

    def cost(
        self, net: str, name: str, file: Path, times: dict[int, dict[str, float]], key: str
    ) -> dict[str, Any]:
        """Return the columns that say what a structure costs, as ratios to the dense parent."""
        seed = self.plan.training.seeds[0]
        dense = schedule.cost(self.runs.parent(net, seed), self.data.holdout)
        figures = self.figures(net, name)[0]
        size = self.graph(net, seed, "dense").stat().st_size / file.stat().st_size
        row = {
            "parameters": f"{figures['parameters']:,}",
            "MACs": f"{dense.macs / figures['macs']:.2f}x fewer",
            "file": f"{size:.1f}x smaller",
        }
        for batch, seconds in times.items():
            same, eager = seconds["dense"] / seconds[key], seconds["eager"] / seconds[key]
            row[f"batch {batch}: same runtime"] = f"{same:.2f}x"
            row[f"batch {batch}: dense eager"] = f"{eager:.1f}x"
        return row

    def cells(self, net: str, times: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
        """Return the rows of one network: every criterion at every rate."""
        control = self.accuracies(net, "control")
        rows = []
        for rate in self.plan.rates[net]:
            for name in self.plan.criteria:
                cell = pruning_plan.cell(name, rate)
                found = self.accuracies(net, cell)
                drops = [a - b for a, b in zip(control, found, strict=True)]
                disagreement = [each["disagreement"] for each in self.figures(net, cell)]
                some = pruning_plan.cell(self.plan.criteria[0], rate)
                file = self.graph(net, self.plan.training.seeds[0], some)
                rows.append(
                    {
                        "network": net,
                        "channels removed": f"{rate:.1%}",
                        "criterion": name,
                        "accuracy %": pruning_summary.spread(found).points(),
                        "drop": pruning_summary.spread(drops).points(),
                        "disagreement %": pruning_summary.spread(disagreement).points(),
                        **self.cost(net, cell, file, times, f"{rate:.3f}"),
                    }
                )
        return rows

    def chained(self, net: str, times: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
        """Return the rows that are held against the targets, of exported graphs."""
        seeds = self.plan.training.seeds
        parent = [self.tested(self.graph(net, seed, "dense")) for seed in seeds]
        control = self.accuracies(net, "chained-control")
        plain = [self.tested(self.graph(net, seed, "chained")) for seed in seeds]
        int8 = [self.tested(self.int8(net, seed)) for seed in seeds]
        rows = [
            {"network": net, "version": name, "accuracy %": pruning_summary.spread(values).points()}
            for name, values in (("dense parent", parent), ("dense, trained as long", control))
        ]
        drops = [a - b for a, b in zip(control, plain, strict=True)]
        fell = [a - b for a, b in zip(plain, int8, strict=True)]
        self._hold(
            net, times[1], pruning_summary.spread(drops).mean, pruning_summary.spread(fell).mean
        )
        seed = seeds[0]
        for name, values, file, key in (
            ("blocks, then channels", plain, self.graph(net, seed, "chained"), "chained"),
            ("the same in int8", int8, self.int8(net, seed), "chained int8"),
        ):
            costs = self.cost(net, "chained", file, times, key)
            accuracy = pruning_summary.spread(values).points()
            rows.append({"network": net, "version": name, "accuracy %": accuracy, **costs})
        return rows

    def _hold(self, net: str, seconds: dict[str, float], drop: float, fell: float) -> None:
        same = seconds["dense"] / seconds["chained"]
        eager = seconds["eager"] / seconds["chained"]
        eager8 = seconds["eager"] / seconds["chained int8"]
        most, times = (0.4, 2.5) if net == "small" else (0.5, 10.0)
        self.targets += [
            report.Target(
                f"{net}: points lost against dense trained as long",
                round(100 * drop, 3),
                "<=",
                most,
            ),
            report.Target(
                f"{net}: times as fast, same runtime, batch 1", round(same, 2), ">=", times
            ),
        ]
        if net == "wide":
            self.targets.append(
                report.Target(f"{net}: times as fast as dense eager", round(eager, 1), ">=", 40.0)
            )
        else:
            self.targets += [
                report.Target(
                    f"{net}: int8, times as fast as dense eager", round(eager8, 1), ">=", 12.0
                ),
                report.Target(f"{net}: points lost to int8 alone", round(100 * fell, 3), "<=", 0.2),
            ]

    def ranked(self) -> list[dict[str, Any]]:
        """Return the rows that compare criteria with random choice: useful rates, and all."""
        rows = []
        for title, rates in (("useful", self._useful()), ("all", self.plan.rates)):
            found = pruning_summary.gains(self._by_seed(rates), pruning_plan.CONTROL)
            rows += [
                {
                    "rates": title,
                    "criterion": gain.criterion,
                    "minus random, points": f"{100 * gain.mean:+.2f}",
                    "interval": f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}",
                    "verdict": gain.verdict,
                }
                for gain in found
            ]
            if title == "useful":
                self._hold_best(found[0])
        return rows

    def _useful(self) -> dict[str, tuple[float, ...]]:
        """Return the rates at which chance leaves something that could still be put to use."""
        return {
            net: tuple(
                rate
                for rate in self.plan.rates[net]
                if self._mean(net, "control") - self._mean(net, self._random(rate))
                <= self.plan.useful_drop
            )
            for net in self.plan.nets
        }

    def _random(self, rate: float) -> str:
        return pruning_plan.cell(pruning_plan.CONTROL, rate)

    def _mean(self, net: str, name: str) -> float:
        return pruning_summary.spread(self.accuracies(net, name)).mean

    def _by_seed(
        self, rates: dict[str, tuple[float, ...]]
    ) -> dict[str, dict[str, list[list[float]]]]:
        return {
            name: {
                net: [
                    [self.accuracies(net, pruning_plan.cell(name, rate))[at] for rate in rates[net]]
                    for at, _ in enumerate(self.plan.training.seeds)
                ]
                for net in self.plan.nets
            }
            for name in self.plan.criteria
        }

    def _hold_best(self, best: pruning_summary.Gain) -> None:
        over = f"best criterion ({best.criterion}) minus random, useful rates"
        self.targets += [
            report.Target(f"{over}, points", round(100 * best.mean, 2), ">=", 0.3),
            report.Target(f"{over}, lower end", round(100 * best.low, 2), ">=", 0.0),
        ]

    def memory(self) -> list[dict[str, Any]]:
        """Prune again and again in this process; return the row of its memory."""
        parent = self.runs.parent(self.plan.nets[0], self.plan.training.seeds[0])
        how = pruning_plan.chained_recipe(self.plan.nets[0], 0)

        def cycle() -> None:
            model = copy.deepcopy(parent)
            schedule.prune(model, self.data.train, how, task=pruning_runs.TASK, seed=0)

        found = pruning_times.growth(cycle, warm=3, cycles=self.plan.cycles)
        ratio = found[-1] / found[0]
        self.targets.append(
            report.Target(
                f"memory after {self.plan.cycles} prunings over before", round(ratio, 3), "<=", 1.02
            )
        )
        return [
            {
                "prunings in one process": self.plan.cycles,
                "MiB before": round(found[0]),
                "MiB after": round(found[-1]),
            }
        ]


def main() -> None:
    """Train what is missing, measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the data, few trainings")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        plan = pruning_plan.quick(Path(name)) if options.quick else pruning_plan.whole()
        data = pruning_nets.load_data(plan.rows)
        bench = Bench(plan, data, Path(name))
        bench.train()
        rows: list[dict[str, Any]] = []
        for net in plan.nets:
            times = bench.times(net)
            rows += [*bench.chained(net, times), *bench.cells(net, times)]
        rows += [*bench.ranked(), *bench.memory()]
        if not options.quick:
            searched = pruning_search.search(plan, bench.runs)
            rows += searched.rows
            bench.targets += searched.targets
    report.Report(
        name="pruning",
        title="Pruning on Fashion-MNIST",
        rows=rows,
        targets=bench.targets,
        packages=("torch", "onnxruntime", "torch-pruning"),
        notes=pruning_notes.NOTES,
    ).write(options.out)


if __name__ == "__main__":
    main()
