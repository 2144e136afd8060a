from __future__ import annotations

import os

import numpy as np
import pytest

from coppice import testing
from coppice.settings import DriftSettings, MonitorSettings
from monitoring import drift, reports

SECONDS = 60.0
NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    detector = drift.Drift.cautious(
        rng.normal(size=(60, 1)), ("input.x",), DriftSettings(window=50), 1
    )
    return detector, rng.normal(size=(50, 1))


@pytest.fixture
def clock():
    return testing.ManualClock(NOW)


@pytest.fixture
def kept(tmp_path, clock):
    return reports.Reports(tmp_path / "reports", MonitorSettings(reports_kept=2), clock)


def lay(folder, name, age_days=0.0):
    """Put a report of some age beside the others."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("<html>")
    os.utime(path, (NOW - age_days * reports.DAY,) * 2)
    return path


def test_a_report_is_a_whole_page_under_a_name_that_says_of_what_and_when(kept, tmp_path, picture):
    name = kept.write("tiny:0123", picture)
    assert name == "drift-tiny-0123-2023-11-14T221320000Z.html"
    kept.wait(SECONDS)
    assert kept.names() == (name,)
    assert "input.x" in kept.path(name).read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [name]


def test_a_report_that_cannot_be_drawn_leaves_nothing_behind(kept, tmp_path, picture):
    detector, _ = picture
    kept.write("tiny:0123", (detector, np.full((50, 1), np.nan)))
    kept.wait(SECONDS)
    assert kept.names() == ()
    assert list((tmp_path / "reports").iterdir()) == []


def test_only_the_newest_are_kept(kept, tmp_path):
    folder = tmp_path / "reports"
    names = [lay(folder, f"drift-{age}.html", age).name for age in (3, 2, 1)]
    kept._prune()
    assert kept.names() == (names[2], names[1])


def test_old_ones_go_though_there_are_few(kept, tmp_path):
    lay(tmp_path / "reports", "drift-old.html", age_days=31)
    lay(tmp_path / "reports", "drift-new.html", age_days=29)
    kept._prune()
    assert kept.names() == ("drift-new.html",)


def test_other_files_are_never_deleted_nor_shown(kept, tmp_path):
    other = lay(tmp_path / "reports", "notes.html", age_days=99)
    kept._prune()
    assert other.exists()
    assert kept.path("notes.html") is None


@pytest.mark.parametrize(
    "name",
    [
        "../state.msgpack",
        "drift-../../x.html",
        "drift-a/b.html",
        "/etc/passwd",
        "",
        "drift-x.html\n",
    ],
)
def test_no_name_leads_out_of_the_folder(kept, tmp_path, name):
    (tmp_path / "x.html").write_text("secret")
    assert kept.path(name) is None


def test_a_link_is_not_followed(kept, tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "drift-link.html").symlink_to(tmp_path / "secret")
    assert kept.path("drift-link.html") is None
    assert kept.names() == ()


def test_where_none_are_kept_none_are_written(tmp_path, clock, picture):
    none = reports.Reports(tmp_path / "reports", MonitorSettings(reports_kept=0), clock)
    assert none.write("tiny:0123", picture) is None
    assert not (tmp_path / "reports").exists()


def test_before_the_first_report_there_are_no_names(kept):
    assert kept.names() == ()
