from __future__ import annotations

import math

import pytest

from retrain import labelling
from retrain.evaluate import feedback_loop


def group(
    agreed: int, answered: int, *, saw: bool, annotator: str = "", source: str = "human"
) -> labelling.Labelling:
    key = labelling.Key("learned from", source, saw, annotator)
    return labelling.Labelling(key=key, rows=answered, answered=answered, agreed=agreed)


def test_groups_are_added_up_by_whether_the_prediction_was_seen() -> None:
    groups = [group(3, 5, saw=True), group(1, 4, saw=True), group(2, 2, saw=False)]
    assert feedback_loop.agreement(groups, saw=True) == (9, 9, 4)
    assert feedback_loop.agreement(groups, saw=False) == (2, 2, 2)


def test_whoever_is_handed_a_suggestion_has_seen_what_the_model_says() -> None:
    groups = [group(3, 5, saw=False, source="model-assisted")]
    assert feedback_loop.agreement(groups, saw=True).rows == 5


def test_more_agreement_in_sight_is_unlikely_by_chance() -> None:
    seen, unseen = feedback_loop.Agreement(40, 40, 40), feedback_loop.Agreement(40, 40, 32)
    found = feedback_loop.compare(seen, unseen, confidence=0.95)
    assert found is not None
    # All 8 of the 80 that differ are among the 40 blind ones.
    assert found.chance == pytest.approx(math.comb(40, 8) / math.comb(80, 8))
    assert found.gap.low > 0.0


def test_less_agreement_in_sight_is_no_sign_of_an_echo() -> None:
    seen, unseen = feedback_loop.Agreement(40, 40, 32), feedback_loop.Agreement(40, 40, 40)
    found = feedback_loop.compare(seen, unseen, confidence=0.95)
    assert found is not None
    assert found.chance == pytest.approx(1.0)


def test_without_known_answers_there_is_nothing_to_compare() -> None:
    known, unknown = feedback_loop.Agreement(4, 4, 4), feedback_loop.Agreement(9, 0, 0)
    assert feedback_loop.compare(known, unknown, confidence=0.95) is None
    assert feedback_loop.compare(unknown, known, confidence=0.95) is None


def test_every_named_annotator_is_judged_the_least_likely_first() -> None:
    groups = [
        group(30, 30, saw=True, annotator="ada"),
        group(24, 30, saw=True, annotator="bob"),
        group(30, 30, saw=True),
        group(80, 100, saw=False, annotator="eve"),
    ]
    unseen = feedback_loop.agreement(groups, saw=False)
    found = feedback_loop.stamps(groups, unseen, confidence=0.95)
    assert [each.annotator for each in found] == ["ada", "bob"]
    # Wilson's upper end for 80 of 100 is 0.8666; thirty agreements in a row then have 0.8666^30.
    assert found[0].chance == pytest.approx(0.8666**30, rel=0.01)
    assert found[1].chance > 0.5


def test_without_blind_labels_nobody_can_be_judged() -> None:
    groups = [group(30, 30, saw=True, annotator="ada")]
    unseen = feedback_loop.agreement(groups, saw=False)
    assert feedback_loop.stamps(groups, unseen, confidence=0.95) == ()
