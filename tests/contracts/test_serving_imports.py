"""A server starts fast and small: what answers requests loads nothing for learning or judging."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = {
    "torch",
    "openvino",
    "evidently",
    "torch_pruning",
    "sklearn",
    "onnx",
    "onnxscript",
    "matplotlib",
}

PROGRAM = """
import importlib, json, pkgutil, sys
for name in {names}:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(found.name)
json.dump(sorted({{name.partition(".")[0] for name in sys.modules}}), sys.stdout)
"""


def loaded_by(*names: str) -> set[str]:
    """Return the top-level packages in memory after importing modules and all below them."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def test_the_service_loads_none_of_them() -> None:
    assert loaded_by("service") & HEAVY == set()


@pytest.mark.parametrize("name", ["coppice.runtime", "coppice.eventlog", "coppice.registry"])
def test_the_kernels_stores_and_runtime_load_none_of_them(name: str) -> None:
    assert loaded_by(name) & HEAVY == set()


def test_the_stores_need_neither_the_runtime_nor_bentoml() -> None:
    loaded = loaded_by("coppice.eventlog", "coppice.registry")

    assert loaded & {"onnxruntime", "bentoml"} == set()


def test_the_whole_kernel_loads_none_of_them() -> None:
    assert loaded_by("coppice") & HEAVY == set()


def test_without_a_collector_nothing_of_tracing_is_loaded() -> None:
    # BentoML itself loads OpenTelemetry's interface; the exporter and our spans are what costs.
    program = (
        "import sys, service.app; service.app.Coppice.to_asgi();"
        "print([n for n in sys.modules if n.startswith(('opentelemetry.exporter', 'service.t'))])"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['service.tensors']\n"
