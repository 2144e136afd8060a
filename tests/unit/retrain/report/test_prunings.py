from __future__ import annotations

import pytest

from coppice import errors
from retrain.pruning import surgery
from retrain.report import prunings


def point(gain: float, quality: float, series: str = "a") -> prunings.Point:
    return prunings.Point(series=series, label="", gain=gain, quality=quality)


def test_what_is_slower_and_no_better_is_not_on_the_front() -> None:
    slow, fast, lost = point(1.2, 0.9), point(2.0, 0.8), point(1.9, 0.7)
    assert prunings.front([lost, fast, slow]) == (slow, fast)


def test_of_equals_the_first_stays() -> None:
    assert prunings.front([point(1.0, 0.9, "a"), point(1.0, 0.9, "b")])[0].series == "a"


def test_the_dense_parent_beats_what_became_slower() -> None:
    dense = prunings.dense(0.97)
    assert prunings.front([dense, point(0.9, 0.96)]) == (dense,)


def test_without_points_there_is_no_front() -> None:
    assert prunings.front([]) == ()


def test_a_record_of_surgery_is_read_for_people() -> None:
    record = surgery.Surgery(
        groups=(surgery.GroupRecord("stem", 16, 8),),
        removed=(surgery.Removed("blocks.1"),),
        masks=(surgery.Masked("fc.weight", 30, 100, "unstructured"),),
        whole=(surgery.Whole("fc", "it gives the answer"),),
    )
    found = prunings.read(record.to_json())
    assert found.widths == (prunings.Width("stem", 16, 8),)
    assert [gone.module for gone in found.removed] == ["blocks.1"]
    assert found.masks == (prunings.Masked("fc.weight", 30, 100, "unstructured"),)
    assert found.whole == (prunings.Whole("fc", "it gives the answer"),)


def test_where_no_group_was_cut_masks_are_the_widths() -> None:
    record = surgery.Surgery(masks=(surgery.Masked("fc.weight", 30, 100, "2:4"),))
    assert prunings.read(record.to_json()).widths == (prunings.Width("fc.weight", 100, 30),)


def test_what_is_no_record_is_an_error() -> None:
    with pytest.raises(errors.ArtifactError, match="prune again"):
        prunings.read("[]")


def test_widths_are_told_in_a_line_that_does_not_grow_without_end() -> None:
    many = [prunings.Width(f"layer{number}", 16, 8) for number in range(9)]
    assert prunings.in_short(many, most=2) == "layer0 16 > 8, layer1 16 > 8 and 7 more"
