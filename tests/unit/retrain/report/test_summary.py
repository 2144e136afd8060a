from __future__ import annotations

import msgspec
import pytest

from retrain import card
from retrain.evaluate import evaluation, section
from retrain.report import summary
from tests.support import cards

DENSE = card.Card(
    status="accepted",
    lineage=msgspec.structs.replace(cards.harmless().lineage, origin="trained", parent=None),
    libraries={},
    evaluation=evaluation.Evaluation(
        holdout=evaluation.Table(rows=400, columns={"parent": {"score": 0.97}}, yardstick="parent")
    ),
    quality=cards.harmless().quality,
)


def test_an_accepted_version_is_told_in_one_sentence() -> None:
    # 6 of 400 lost and 2 gained: 1 point; both graphs timed at 2 and 1.
    assert summary.summarise(cards.harmless()).sentence == (
        "This version may be rolled out: it answers 2.00 times as fast as its dense parent and "
        "loses 1.00 points of score, and no gate refuses it."
    )


def test_a_refused_version_names_its_gates() -> None:
    assert summary.summarise(cards.harmful()).sentence == (
        "This version must not be rolled out: 2 of 5 gates refuse it (score, slice pen=ink); it "
        "loses 8.00 points of score, and its speed was not measured."
    )


def test_a_forced_version_says_past_what() -> None:
    assert summary.summarise(cards.harmful(status="forced")).sentence.startswith(
        "This version was forced past 2 gates that refuse it (score, slice pen=ink): it loses"
    )


def test_a_dense_parent_is_judged_by_nothing() -> None:
    found = summary.summarise(DENSE)
    assert found.verdict == "dense"
    assert found.headlines == ()
    assert found.sentence == (
        "This is a dense parent, trained: nothing was pruned, so no gate judges it; its mean "
        "score on the holdout is 97.00%."
    )


def test_four_figures_stand_first() -> None:
    found = summary.summarise(cards.harmless()).headlines
    assert [each.value for each in found] == ["96.00%", "2.00x", "33%", "-5.00 points"]
    assert found[2].note == "30 of 90 parameters are left"
    assert found[3].note == "pen=ink, 100 rows"


def test_a_figure_is_bad_only_where_chance_is_ruled_out() -> None:
    # 8 points on 400 rows are shown; one point is not.
    assert summary.summarise(cards.harmful()).headlines[0].tone == "bad"
    assert summary.summarise(cards.harmless()).headlines[0].tone == "plain"


def test_what_was_not_measured_is_said_to_be_so() -> None:
    bare = cards.harmful(cost={})
    notes = [each.note for each in summary.summarise(bare).headlines]
    assert notes[1:3] == ["not measured", "not measured"]


def test_without_slices_there_is_no_worst_one() -> None:
    table = msgspec.structs.replace(cards.table(), slices={})
    found = summary.summarise(cards.card_of(evaluation.Evaluation(holdout=table)))
    assert found.headlines[3].note == "no slices are declared"
    assert found.losses == ()


def test_losses_that_are_sure_come_first() -> None:
    found = summary.summarise(cards.harmful()).losses
    assert [(loss.whom, loss.sure) for loss in found] == [("pen=ink", True), ("pen=lead", False)]
    assert found[0].text.startswith("30.00 points of score lost on 100 rows (between 21.89 and")


def test_slices_that_gained_are_no_losses() -> None:
    # pen=lead lost 1 and gained 2.
    assert [loss.whom for loss in summary.summarise(cards.harmless()).losses] == ["pen=ink"]


def test_a_loss_in_production_says_where() -> None:
    judged = evaluation.Evaluation(holdout=cards.table(), production=cards.table())
    assert [loss.whom for loss in summary.summarise(cards.card_of(judged)).losses] == [
        "pen=ink",
        "pen=ink in production",
    ]


def test_a_refused_section_is_a_loss_before_all_slices() -> None:
    worse = msgspec.structs.replace(
        cards.ROBUSTNESS, figures={"worst_drop": section.Figure(value=0.2, low=0.1, high=0.3)}
    )
    (first, *_) = summary.summarise(cards.harmless(sections={"robustness": worse})).losses
    assert (first.whom, first.sure) == ("robustness", True)
    assert first.text.endswith("under attack or corruption: -20.00 points")


def test_silence_is_listed() -> None:
    assert "privacy" in summary.summarise(cards.harmless()).unjudged


@pytest.mark.parametrize("lost", [2, 0])
def test_a_kept_or_gained_score_is_said_so(lost: int) -> None:
    judged = evaluation.Evaluation(holdout=cards.table(lost, 2))
    expected = {2: "it keeps its score", 0: "it gains 0.50 points of score"}[lost]
    assert expected in summary.summarise(cards.card_of(judged)).sentence
