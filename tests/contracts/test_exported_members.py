"""`__all__` is sorted, and true: what it names exists, and no public name is missing."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("coppice", "coppice_cli", "deploy", "monitoring", "retrain", "service")


def declares_all(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    targets = [
        target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
    ]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(
    module_name(path)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if declares_all(path)
)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def defined_here(module: ModuleType) -> set[str]:
    """Public functions and classes that the module itself defines."""
    return {
        name
        for name, member in inspect.getmembers(module)
        if (inspect.isfunction(member) or inspect.isclass(member))
        and member.__module__ == module.__name__
        and not name.startswith("_")
    }


def test_the_kernel_says_what_it_exports() -> None:
    assert {"coppice", "coppice.eventlog", "coppice.registry", "coppice.testing"} <= set(MODULES)


def test_exported_names_are_sorted(module: ModuleType) -> None:
    # ruff's order: constants first, then classes, then functions.
    names = list(module.__all__)

    assert names == sorted(names, key=rank)


def rank(name: str) -> tuple[int, str]:
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_exported_names_exist_and_do_not_repeat(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_public_names_are_exported(module: ModuleType) -> None:
    assert defined_here(module) - set(module.__all__) == set()


def test_only_packages_and_public_doors_export_names() -> None:
    """Elsewhere modules are imported and their names used through them."""
    doors = {"coppice.testing", "coppice.settings"}

    modules = {name for name in MODULES if not (ROOT / name.replace(".", "/")).is_dir()}
    assert modules <= doors
