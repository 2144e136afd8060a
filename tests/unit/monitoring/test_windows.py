from __future__ import annotations

import numpy as np

from coppice import records
from monitoring import windows


def row(score=1.0, name="r", slices=()):
    return windows.LabelledRow(name, 0, 1.0, score, slices)


def features(*rows):
    return records.Tensor.of(np.array(rows, dtype=np.float32))


def test_a_window_keeps_the_most_recent_rows_and_no_more_than_twice_its_limit():
    window = windows.Window(limit=3)
    for number in range(100):
        window.add(row(name=str(number)))
        assert len(window.rows) < 6
    assert [each.request_id for each in window.recent()] == ["97", "98", "99"]


def test_scores_are_told_by_slice_and_all_together():
    window = windows.Window(limit=10)
    window.add(row(1.0, slices=("pen=ink", "site=a")))
    window.add(row(0.0, slices=("pen=lead", "site=a")))
    assert window.scores() == {
        "all": [1.0, 0.0],
        "pen=ink": [1.0],
        "site=a": [1.0, 0.0],
        "pen=lead": [0.0],
    }


def test_coverage_is_the_share_of_answered_rows_with_a_label():
    assert windows.Window(limit=10, answered=8, labelled=2).coverage() == 0.25


def test_without_answers_there_is_no_coverage():
    assert windows.Window(limit=10).coverage() == 0.0


def test_features_make_a_window_when_enough_rows_came_and_the_rest_begins_the_next():
    collected = windows.FeatureWindow(size=3)
    assert collected.add(features([1, 1], [2, 2])) is None
    full = collected.add(features([3, 3], [4, 4]))
    assert full.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert collected.add(features([5, 5])) is None
    assert collected.add(features([6, 6])).tolist() == [[4, 4], [5, 5], [6, 6]]


def test_windows_of_features_do_not_overlap_when_rows_come_one_by_one():
    collected = windows.FeatureWindow(size=2)
    full = [collected.add(features([number])) for number in range(4)]
    assert [each.ravel().tolist() for each in full if each is not None] == [[0, 1], [2, 3]]


def test_one_huge_request_leaves_less_than_a_window_behind():
    collected = windows.FeatureWindow(size=2)
    collected.add(features(*([number] for number in range(100))))
    assert collected.rows == 1


def test_features_of_another_width_start_anew():
    collected = windows.FeatureWindow(size=2)
    collected.add(features([1]))
    assert collected.add(features([1, 1])) is None
    assert collected.add(features([2, 2])).tolist() == [[1, 1], [2, 2]]


def admit(slices, times, **named):
    names = list(map("=".join, named.items()))
    return [slices.admit(names) for _ in range(times)][-1]


def test_a_slice_is_watched_once_it_has_proven_its_traffic():
    slices = windows.Slices(limit=2)
    assert admit(slices, windows.PROOF_OF_TRAFFIC - 1, pen="ink") == ()
    assert admit(slices, 1, pen="ink") == ("pen=ink",)


def test_no_more_slices_are_watched_than_the_limit_and_the_others_are_counted():
    slices = windows.Slices(limit=1)
    admit(slices, 5, pen="ink")
    assert admit(slices, 9, pen="lead") == ()
    assert (list(slices.watched), slices.passed_over) == (["pen=ink"], 9)


def test_a_flood_of_names_takes_bounded_memory_and_no_place():
    slices = windows.Slices(limit=2)
    for number in range(1000):
        slices.admit([f"user={number}"])
    assert len(slices.waiting) <= 20
    assert slices.watched == {}


def test_a_limit_of_nothing_watches_nothing():
    assert admit(windows.Slices(limit=0), 100, pen="ink") == ()


def test_agreement_with_the_parent_is_told_of_recent_rows():
    agreement = windows.Agreement(limit=2)
    agreement.add([False, False])
    agreement.add([True])
    assert agreement.recent() == [False, True]
    for _ in range(50):
        agreement.add([True, True])
        assert len(agreement.rows) < 6


def agreement(*shares):
    """First and later rows, a hundred each, of which such shares agree."""
    made = windows.Agreement(limit=100)
    for share in shares:
        made.add([number < 100 * share for number in range(100)])
    return made


def test_agreement_that_stays_as_it_was_has_not_fallen():
    assert not agreement(0.97, 0.95).fell()


def test_agreement_that_drops_beyond_chance_has_fallen():
    assert agreement(0.97, 0.80).fell()


def test_of_few_rows_no_fall_can_be_told():
    few = windows.Agreement(limit=100)
    few.add([True] * 3 + [False] * 2)
    assert not few.fell()


def test_before_any_row_agreement_has_not_fallen():
    assert not windows.Agreement(limit=100).fell()


def test_the_first_rows_are_kept_for_good():
    kept = agreement(1.0, 0.5, 0.5, 0.5)
    assert kept.first == [True] * 100
