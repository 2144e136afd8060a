from __future__ import annotations

import base64
import re
import struct
import zlib
from xml.etree import ElementTree as ET

import pytest

from retrain.evaluate import section
from retrain.report import pictures
from tests.support import cards

LINES, BARS = cards.ROBUSTNESS.charts
RELIABILITY = section.Chart(
    title="Calibration",
    kind="reliability",
    x="expected",
    y="came true",
    series={"candidate": ((0.2, 0.1), (0.9, 0.8))},
)
POINTS = section.Chart(
    title="Spread", kind="points", x="x", y="y", series={"": ((0.0, 1.0),)}, labels=("only",)
)


@pytest.mark.parametrize(
    "chart", [LINES, BARS, RELIABILITY, POINTS], ids=lambda chart: str(chart.kind)
)
def test_every_kind_of_chart_is_one_well_formed_picture_with_a_name(chart: section.Chart) -> None:
    drawn = pictures.chart(chart, "c1")
    root = ET.fromstring(drawn)
    assert (root.get("role"), root.get("aria-label")) == ("img", chart.title)
    assert chart.y in drawn


def test_ids_of_two_pictures_of_a_page_are_apart() -> None:
    first, second = (
        set(re.findall(r'id="([^"]+)"', pictures.chart(LINES, place))) for place in ("c1", "c2")
    )
    assert first
    assert first & second == set()


def test_the_same_chart_gives_the_same_picture() -> None:
    assert pictures.chart(LINES, "c1") == pictures.chart(LINES, "c1")


def test_references_inside_a_picture_lead_somewhere() -> None:
    drawn = pictures.chart(LINES, "c1")
    known = set(re.findall(r'id="([^"]+)"', drawn))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawn)) <= known


def test_texts_are_escaped_and_never_read_as_formulas() -> None:
    chart = section.Chart(
        title='"a" <b>', kind="lines", x="$cost$", y="<y>", series={"s": ((0.0, 1.0), (1.0, 2.0))}
    )
    drawn = pictures.chart(chart, "c1")
    assert 'aria-label="&quot;a&quot; &lt;b&gt;"' in drawn
    assert "$cost$" in drawn
    assert "<y>" not in drawn


def test_bars_with_long_names_lie_and_make_the_picture_taller() -> None:
    long = section.Chart(
        title="Ablation",
        kind="bars",
        x="",
        y="drop",
        series={"candidate": tuple((float(place), 0.1) for place in range(20))},
        labels=tuple(f"features.{place}.weight" for place in range(20)),
    )
    height = float(re.search(r'viewBox="0 0 \d+(?:\.\d+)? ([\d.]+)"', pictures.chart(long, "c"))[1])  # type: ignore[index]
    # 0.8 inches and 0.22 for each bar, at 72 points to the inch.
    assert height == pytest.approx((0.8 + 20 * 0.22) * 72)


def test_a_grey_picture_is_a_png_with_ink_as_black() -> None:
    data = base64.b64decode(pictures.image(((0.0, 1.0, 0.5), (2.0, -1.0, 0.25))).partition(",")[2])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (3, 2)
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[start - 8 : start - 4])
    lines = zlib.decompress(data[start : start + length])
    # A filter byte before each line; 1 - 0.5 is 128 (halves round to even), 1 - 0.25 is 191.
    assert list(lines) == [0, 255, 0, 128, 0, 0, 255, 191]
