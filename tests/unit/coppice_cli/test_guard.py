from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coppice import errors
from coppice_cli import guard


@pytest.fixture
def first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_nothing_is_shadowed_here() -> None:
    guard.check()
    assert guard.shadows() == []


def test_a_users_file_ahead_of_ours_is_named_with_what_to_do(first_on_path: Path) -> None:
    hiding = first_on_path / "shadowed_service.py"
    hiding.write_text("raise RuntimeError('the guard must not import this')\n")
    with pytest.raises(errors.EnvironmentProblem, match="rename that file") as caught:
        guard.check(("shadowed_service",), guard.HOME)
    assert str(hiding) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_guard_imports_nothing(first_on_path: Path) -> None:
    (first_on_path / "shadowed_deploy.py").write_text("")
    guard.shadows(("shadowed_deploy",), guard.HOME)
    assert "shadowed_deploy" not in sys.modules


def test_a_folder_without_init_shadows_too(first_on_path: Path) -> None:
    (first_on_path / "shadowed_monitoring").mkdir()
    found = guard.shadows(("shadowed_monitoring",), guard.HOME)
    assert found == [("shadowed_monitoring", first_on_path / "shadowed_monitoring")]


def test_a_package_that_is_not_there_is_not_shadowed() -> None:
    assert guard.shadows(("no_such_package_anywhere",), guard.HOME) == []


def test_our_own_home_is_where_all_packages_lie() -> None:
    homes = {name: (guard.HOME / name / "__init__.py").is_file() for name in guard.PACKAGES}
    assert homes == dict.fromkeys(guard.PACKAGES, True)
