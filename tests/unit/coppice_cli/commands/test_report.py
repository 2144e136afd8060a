from __future__ import annotations

from pathlib import Path

from coppice import errors
from tests.support import cards, command_line
from tests.support.command_line import Call


def test_an_ids_start_is_enough(call: Call, tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    tags = cards.shelve(tree, tmp_path / "made", good=cards.harmless())
    start = tags["good"].partition(":")[2][:6]
    result = call("report", "-C", tmp_path, start)
    assert result.code == 0, result.err
    path = tmp_path / ".coppice" / "reports" / f"{tags['good'].replace(':', '-')}.html"
    assert result.out == f"wrote {path.resolve()}\n"
    assert f"<title>{tags['good']}: accepted</title>" in path.read_text(encoding="utf-8")


def test_it_is_written_where_it_is_asked_for(call: Call, tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    tags = cards.shelve(tree, tmp_path / "made", bad=cards.harmful())
    out = tmp_path / "new" / "page.html"
    assert call("report", "-C", tmp_path, tags["bad"], "--out", out).code == 0
    assert "must not be rolled out" in out.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(call: Call, tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    tags = cards.shelve(tree, tmp_path / "made", good=cards.harmless())
    result = call("report", "-C", tmp_path, tags["good"], "-o", tmp_path)
    assert result.code == errors.EnvironmentProblem.exit_code
    assert "the page cannot be written to" in result.err


def test_a_version_that_is_not_there_names_the_nearest(call: Call, tmp_path: Path) -> None:
    tree = command_line.project(tmp_path)
    tags = cards.shelve(tree, tmp_path / "made", good=cards.harmless())
    result = call("report", "-C", tmp_path, "champion")
    assert result.code == errors.UnknownVersion.exit_code
    assert tags["good"] in result.err.replace("\n", "")
