from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TypeAlias

import pytest

from retrain.report import pruning_pictures, prunings

Draw: TypeAlias = Callable[[str], str]
POINTS = tuple(
    prunings.Point(
        series=series,
        label=f"{amount}%",
        gain=1.0 + amount / 50,
        quality=quality - amount / 1000,
        low=1.0,
        high=4.0,
        spread=0.01,
    )
    for series, quality in (("random", 0.9), ("taylor <b>", 0.95))
    for amount in (30, 70)
)
WIDTHS = tuple(prunings.Width(f"blocks.{number}.conv", 64, 32) for number in range(40))
SENSITIVE = tuple(
    prunings.Sensitivity(name=name, amount=amount, drop=drop)
    for name, amount, drop in [("stem", 0.25, 0.1), ("stem", 0.5, 0.4), ("fc", 0.25, -0.01)]
)


def trade(place: str) -> str:
    return pruning_pictures.trade(POINTS, title="Trade & co", place=place, dense=0.97)


def widths(place: str) -> str:
    return pruning_pictures.widths(WIDTHS, title="Widths", place=place)


def sensitivity(place: str) -> str:
    return pruning_pictures.sensitivity(SENSITIVE, title="Sensitivity", place=place)


@pytest.mark.parametrize("draw", [trade, widths, sensitivity])
def test_every_picture_is_well_formed_and_tells_what_it_shows(draw: Draw) -> None:
    root = ET.fromstring(draw("a"))
    assert root.tag.endswith("}svg")
    assert root.attrib["role"] == "img"
    title, description = root[0], root[1]
    assert title.tag.endswith("title")
    assert title.text == root.attrib["aria-label"]
    assert description.tag.endswith("desc")
    assert len(description.text or "") > 20


@pytest.mark.parametrize("draw", [trade, widths, sensitivity])
def test_the_same_values_give_the_same_bytes(draw: Draw) -> None:
    assert draw("a") == draw("a")


@pytest.mark.parametrize("draw", [trade, widths, sensitivity])
def test_ids_begin_with_the_place(draw: Draw) -> None:
    ids = re.findall(r'\bid="([^"]+)"', draw("here"))
    assert ids != []
    assert all(each.startswith("here-") for each in ids)


def test_the_front_is_told_with_its_figures() -> None:
    # At 70% chance scores 0.83, taylor 0.88 at the same speed; dense is the third.
    told = trade("a")
    assert "Not beaten in both: dense parent: 1.00 times as fast, mean score 0.9700;" in told
    assert "taylor &lt;b&gt; 70%: 2.40 times as fast, mean score 0.8800" in told
    assert "random 70%: 2.40 times" not in told


def test_a_single_point_has_no_line_to_draw() -> None:
    drawn = pruning_pictures.trade(POINTS[:1], title="one", place="a")
    assert ">front<" not in drawn
    assert "1 points" in drawn


def test_many_groups_make_the_picture_taller_so_that_each_can_be_read() -> None:
    few = ET.fromstring(pruning_pictures.widths(WIDTHS[:3], title="few", place="a"))
    many = ET.fromstring(widths("a"))
    low, high = (float(root.attrib["height"].removesuffix("pt")) for root in (few, many))
    # Each row has 0.17 inches of 72 points; 37 more of them.
    assert high - low == pytest.approx(37 * 0.17 * 72, abs=1)


def test_numbers_stand_at_the_bars_and_whole_groups_are_said_to_be_so() -> None:
    pair = (prunings.Width("stem", 48, 24), prunings.Width("fc", 64, 64))
    drawn = pruning_pictures.widths(pair, title="two", place="a")
    assert "48 &gt; 24" in drawn
    assert ">whole<" in drawn


def test_long_names_keep_their_ends() -> None:
    long = prunings.Width("encoder.layers.11.self_attention.projection", 8, 4)
    drawn = pruning_pictures.widths((long,), title="long", place="a")
    # Three dots and the last 23 letters.
    assert ">...lf_attention.projection<" in drawn


def test_a_sensitivity_is_written_in_its_field() -> None:
    drawn = sensitivity("a")
    assert ">40.0<" in drawn
    assert "fc at 25%: -1.00 points" in drawn
