"""Measure our own source: lengths of modules and functions, by their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("coppice", "service", "monitoring", "retrain", "deploy", "coppice_cli")


def modules() -> list[Path]:
    """Return every source file of the product."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def lines(path: Path) -> int:
    """Count a file's lines."""
    return path.read_text(encoding="utf-8").count("\n")


def long_modules(limit: int) -> list[str]:
    """Name the modules above a limit."""
    return [str(path.relative_to(ROOT)) for path in modules() if lines(path) > limit]


def long_functions(limit: int) -> list[str]:
    """Name the functions whose body, without the docstring, is above a limit."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules()
        for node in _functions(path)
        if _length(node) > limit
    ]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    documentation = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - documentation


def source_lines() -> int:
    """Count all lines of the product."""
    return sum(lines(path) for path in modules())


def lines_of_tests() -> int:
    """Count all lines of the tests."""
    return sum(lines(path) for path in (ROOT / "tests").rglob("*.py"))
