"""The page of a version in a real browser, without a head: wide, narrow, and free of complaints."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from retrain.report import page
from tests.support import browser, cards

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("page") / "page.html"
    where.write_text(page.render(cards.harmful(), "tiny:bad456"), encoding="utf-8")
    return where


@pytest.mark.parametrize("width", [1100, 400])
def test_it_is_painted_at_this_width_without_a_complaint(
    path: Path, tmp_path: Path, width: int
) -> None:
    picture = tmp_path / "page.png"
    done = browser.browse(
        path, tmp_path / "profile", f"--window-size={width},2400", f"--screenshot={picture}"
    )
    assert browser.complaints(done) == []
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (width, 2400)


def test_the_browser_reads_the_page_as_it_was_written(path: Path, tmp_path: Path) -> None:
    done = browser.browse(path, tmp_path / "profile", "--dump-dom")
    assert browser.complaints(done) == []
    assert "must not be rolled out" in done.stdout
    assert done.stdout.count("<svg") == 2


def test_nothing_is_wider_than_a_telephone(path: Path, tmp_path: Path) -> None:
    """A script beside the page measures it in a frame of 400 pixels and writes what it found."""
    probe = tmp_path / "probe.html"
    inner = path.read_text(encoding="utf-8")
    # The page forbids scripts, so the one that measures is let in by taking that away.
    open_page = re.sub(r"<meta http-equiv=[^>]*>", "", inner).replace(
        "</body>",
        "<script>document.title = 'width ' + document.documentElement.scrollWidth;</script></body>",
    )
    probe.write_text(open_page, encoding="utf-8")
    done = browser.browse(probe, tmp_path / "profile", "--window-size=400,2400", "--dump-dom")
    found = re.search(r"<title>width (\d+)</title>", done.stdout)
    assert found is not None
    # A browser without a head may refuse to be so narrow; then its own least width counts.
    assert int(found[1]) <= 500
