from __future__ import annotations

import dataclasses
import datetime as dt
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from coppice import errors, labels, project, settings

WHOLE = """
def build_model():
    return "a model"

def load_data():
    return "data"
"""


@pytest.fixture(autouse=True)
def search_path() -> Iterator[None]:
    """Give back the search path and the modules as they were."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(folder: Path, module: str = "project") -> project.Project:
    tree = {"project": {"name": "digits", "module": module}}
    return project.load(settings.from_tree(tree, root=folder))


def write(folder: Path, text: str = WHOLE, name: str = "project.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return folder


class TestLoading:
    def test_the_two_functions_are_found(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path))

        assert (loaded.build_model(), loaded.load_data()) == ("a model", "data")

    def test_a_package_serves_as_well(self, tmp_path: Path) -> None:
        assert load(write(tmp_path, name="project/__init__.py")).build_model() == "a model"

    def test_a_module_within_a_package_is_found_by_its_dotted_name(self, tmp_path: Path) -> None:
        write(tmp_path, "", name="mine_k/__init__.py")
        write(tmp_path, name="mine_k/model.py")

        assert load(tmp_path, "mine_k.model").build_model() == "a model"

    def test_the_projects_other_modules_can_be_imported(self, tmp_path: Path) -> None:
        write(tmp_path, "NAME = 'from beside'", name="beside_k.py")
        write(tmp_path, "import beside_k\n" + WHOLE.replace('"a model"', "beside_k.NAME"))

        assert load(tmp_path).build_model() == "from beside"

    def test_the_folder_goes_to_the_end_of_the_search_path(self, tmp_path: Path) -> None:
        load(write(tmp_path))

        assert sys.path[-1] == str(tmp_path)

    def test_two_projects_in_one_process_do_not_mix(self, tmp_path: Path) -> None:
        first = load(write(tmp_path / "a"))
        second = load(write(tmp_path / "b", WHOLE.replace("a model", "another")))

        assert (first.build_model(), second.build_model()) == ("a model", "another")

    def test_loading_again_does_not_run_the_module_again(self, tmp_path: Path) -> None:
        write(tmp_path, "import itertools\nCOUNT = itertools.count()\n" + WHOLE)

        assert load(tmp_path).build_model is load(tmp_path).build_model

    def test_a_missing_module_says_where_it_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ProjectError, match=f"is it in {tmp_path}"):
            load(tmp_path, "nowhere_k")

    def test_a_missing_dependency_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ProjectError, match="No module named 'no_such_library'"):
            load(write(tmp_path, "import no_such_library"))

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("1 / 0", "ZeroDivisionError on import: division by zero"),
            ("def build_model(:", "SyntaxError on import"),
            ("import sys; sys.exit(3)", "SystemExit on import: 3"),
        ],
    )
    def test_code_that_raises_on_import_is_told(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        with pytest.raises(errors.ProjectError, match=problem):
            load(write(tmp_path, text))

    def test_mended_code_can_be_loaded_in_the_same_process(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ProjectError):
            load(write(tmp_path, "1 / 0"))

        assert load(write(tmp_path)).build_model() == "a model"

    @pytest.mark.parametrize("missing", ["build_model", "load_data"])
    def test_a_missing_function_is_named(self, tmp_path: Path, missing: str) -> None:
        with pytest.raises(errors.ProjectError, match=rf"has no function {missing}\(\)"):
            load(write(tmp_path, WHOLE.replace(missing, "other")))

    def test_a_name_that_a_library_has_taken_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ProjectError, match=r"'json' is taken by .*; rename json\.py"):
            load(write(tmp_path, name="json.py"), "json")


def split(rows: int = 4, **changes: Any) -> project.Split:
    fields: dict[str, Any] = {
        "inputs": {"x": np.zeros((rows, 3), dtype=np.float32)},
        "targets": np.arange(rows) % 2,
    }
    return project.Split(**(fields | changes))


def checked(
    task: labels.Task = "multiclass",
    *,
    classes: Any = ("a", "b"),
    train: Any = None,
    validation: Any = None,
    holdout: Any = None,
    **origin: Any,
) -> project.Data:
    """Load data through a project whose splits are as given, the rest sound."""
    data = project.Data(
        train=split(6) if train is None else train,
        validation=split() if validation is None else validation,
        holdout=split() if holdout is None else holdout,
        classes=classes,
        **origin,
    )
    return project.load_data(_project(task, lambda: data))


def _project(task: labels.Task, load_data: Any) -> project.Project:
    tree = {"project": {"name": "digits", "task": task}}
    return project.Project(
        settings=settings.from_tree(tree, root=Path()),
        build_model=lambda: None,
        load_data=load_data,
    )


class TestData:
    def test_sound_data_comes_back(self) -> None:
        assert checked().train.rows == 6

    def test_a_regression_needs_no_classes(self) -> None:
        rows = split(targets=np.linspace(0, 1, 4))

        data = checked("regression", classes=(), train=rows, validation=rows, holdout=rows)

        assert data.classes == ()

    def test_code_that_raises_is_told(self) -> None:
        def broken() -> object:
            message = "no such file: digits.csv"
            raise FileNotFoundError(message)

        with pytest.raises(
            errors.ProjectError, match=r"load_data\(\) raised FileNotFoundError: no"
        ):
            project.load_data(_project("binary", broken))

    def test_something_else_than_data_is_refused(self) -> None:
        with pytest.raises(errors.ProjectError, match=r"returned dict, not coppice\.project\.Data"):
            project.load_data(_project("binary", dict))

    def test_where_rows_come_from_may_be_told(self) -> None:
        day = dt.date(2026, 1, 31)

        told = checked(source="uci", licence="CC-BY-4.0", collected_from=day, collected_to=day)

        assert (told.source, told.licence, told.collected_to) == ("uci", "CC-BY-4.0", day)

    @pytest.mark.parametrize(
        ("field", "value", "problem"),
        [
            ("source", 3, "Data.source is 3, expected a string"),
            ("licence", None, "Data.licence is None, expected a string"),
            (
                "collected_from",
                "2026-01-31",
                "Data.collected_from is '2026-01-31', expected a date",
            ),
        ],
    )
    def test_an_origin_of_the_wrong_kind_is_told(
        self, field: str, value: object, problem: str
    ) -> None:
        changes: Any = {field: value}

        with pytest.raises(errors.ProjectError, match=problem):
            checked(**changes)

    def test_days_in_the_wrong_order_are_told(self) -> None:
        first, last = dt.date(2026, 2, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

        with pytest.raises(errors.ProjectError, match="2026-02-01 lies after collected_to"):
            checked(collected_from=first, collected_to=last)

    @pytest.mark.parametrize("name", ["train", "validation", "holdout"])
    def test_the_split_at_fault_is_named(self, name: str) -> None:
        broken: Any = {name: split(targets=np.zeros((4, 1), dtype=int))}

        with pytest.raises(errors.ProjectError, match=f"the {name} split cannot be used"):
            checked(**broken)

    @pytest.mark.parametrize(
        ("holdout", "problem"),
        [
            ((np.zeros(4), np.zeros(4)), "it is a tuple, expected coppice.project.Split"),
            (split(targets=[0, 1, 0, 1]), "'targets' is a list, expected a numpy array"),
            (split(inputs={"x": [[0.0]]}), "'x' is a list, expected a numpy array"),
            (split(inputs={}), "it has no inputs"),
            (split(targets=np.zeros((4, 1), dtype=int)), r"targets have shape \(4, 1\)"),
            (split(0), r"targets have shape \(0,\)"),
            (split(inputs={"x": np.zeros((3, 3), np.float32)}), r"'x' has \(3,\) rows"),
            (split(inputs={"x": np.zeros((), np.float32)}), r"'x' has \(\) rows"),
            (split(slices={"pen": np.array(["ink"])}), r"'pen' has \(1,\) rows"),
            (split(inputs={"x": np.full((4, 3), np.nan, np.float32)}), "'x' holds NaN"),
            (split(targets=np.zeros(4)), "dtype float64, expected class indices"),
            (split(targets=np.array([0, 1, 2, 0])), r"a target lies outside 0\.\.1"),
            (split(targets=np.array([0, 1, -1, 0])), r"a target lies outside 0\.\.1"),
            (split(inputs={"y": np.zeros((4, 3), np.float32)}), "but those of train are"),
            (split(inputs={"x": np.zeros((4, 3))}), "'float64'.* but those of train are"),
            (split(inputs={"x": np.zeros((4, 5), np.float32)}), r"\(5,\).* but those of train"),
        ],
    )
    def test_what_is_wrong_with_a_split_is_told(self, holdout: object, problem: str) -> None:
        with pytest.raises(errors.ProjectError, match=problem):
            checked(holdout=holdout)

    @pytest.mark.parametrize(
        ("task", "classes", "problem"),
        [
            ("multiclass", (), "at least two different classes"),
            ("multiclass", ("a",), "at least two different classes"),
            ("multiclass", ("a", "b", "a"), "at least two different classes"),
            ("multiclass", (0, 1), "must be strings"),
            ("binary", ("a", "b", "c"), "the task is binary, but Data.classes names 3"),
        ],
    )
    def test_classes_that_do_not_fit_the_task_are_told(
        self, task: labels.Task, classes: tuple[Any, ...], problem: str
    ) -> None:
        with pytest.raises(errors.ProjectError, match=problem):
            checked(task, classes=classes)

    @pytest.mark.parametrize(
        ("targets", "problem"),
        [
            (np.array([0.0, np.nan, 1.0, 2.0]), "a target is not finite"),
            (np.array(["a", "b", "c", "d"]), "expected numbers"),
        ],
    )
    def test_regression_targets_are_finite_numbers(
        self, targets: npt.NDArray[np.generic], problem: str
    ) -> None:
        with pytest.raises(errors.ProjectError, match=problem):
            checked("regression", classes=(), train=split(targets=targets))


class TestSplit:
    @pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True, False])])
    def test_taking_rows_takes_them_from_everything(self, index: npt.NDArray[np.integer]) -> None:
        whole = split(
            inputs={"x": np.arange(4)},
            targets=np.arange(4) * 10,
            slices={"pen": np.array(["a", "b", "c", "d"])},
        )

        part = whole.take(index)

        assert sorted(part.inputs["x"].tolist()) == [0, 2]
        assert sorted(part.targets.tolist()) == [0, 20]
        assert sorted(part.slices["pen"].tolist()) == ["a", "c"]
        assert part.rows == 2

    def test_a_split_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            split().targets = np.zeros(1)  # type: ignore[misc]
