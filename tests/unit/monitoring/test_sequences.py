from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import evidence, sequences

MARGINS = evidence.Margins()
HARM, GAIN, TIE = 1.0, -1.0, 0.0
KNOWN_TIE = 9.0  # an agreeing pair, which no label can change


def drawn(*outcomes):
    """Pairs in their order: an outcome, `None` where its label is missing, or an agreeing pair."""
    pairs = sequences.PairSequence(evidence.PairedState(MARGINS))
    for place, outcome in enumerate(outcomes):
        if outcome == KNOWN_TIE:
            pairs.tie(1)
        else:
            pairs.wait(str(place), 1.0)
    for place, outcome in enumerate(outcomes):
        if outcome not in {None, KNOWN_TIE}:
            pairs.settle(str(place), outcome)
    return pairs


def known(*outcomes):
    return evidence.PairedState(MARGINS).extend(outcomes)


some_outcome = st.sampled_from([HARM, GAIN, TIE, None, KNOWN_TIE])


@given(st.lists(st.sampled_from([HARM, GAIN, TIE, KNOWN_TIE]), max_size=30))
def test_without_a_gap_the_evidence_is_that_of_all_pairs(outcomes):
    found = drawn(*outcomes).decide()
    everything = known(*(TIE if each == KNOWN_TIE else each for each in outcomes))
    expected = evidence.decide(everything)
    assert found.counts == expected.counts
    assert found.evidence == pytest.approx(expected.evidence)


@given(st.lists(some_outcome, max_size=30), st.randoms(use_true_random=False))
def test_it_does_not_matter_in_which_order_labels_come(outcomes, random):
    expected = drawn(*outcomes)
    shuffled = drawn(*(None if each != KNOWN_TIE else each for each in outcomes))
    places = [place for place, each in enumerate(outcomes) if each not in {None, KNOWN_TIE}]
    random.shuffle(places)
    for place in places:
        shuffled.settle(str(place), outcomes[place])
    found = shuffled.decide()
    assert found.counts == expected.decide().counts
    assert found.evidence == pytest.approx(expected.decide().evidence)
    assert list(shuffled.gaps) == list(expected.gaps)


@given(st.lists(some_outcome, min_size=1, max_size=30), st.data())
def test_missing_labels_never_give_more_evidence_than_labelled_beginnings(outcomes, data):
    pairs = drawn(*outcomes)
    truths = [
        data.draw(st.sampled_from([HARM, GAIN, TIE])) if each is None else each for each in outcomes
    ]
    truths = [TIE if each == KNOWN_TIE else each for each in truths]
    beginnings = [evidence.decide(known(*truths[:end])) for end in range(len(truths) + 1)]
    found = pairs.decide().evidence
    assert found.promote <= max(each.evidence.promote for each in beginnings) + 1e-9
    assert found.rollback <= max(each.evidence.rollback for each in beginnings) + 1e-9


@given(st.lists(some_outcome, max_size=30))
def test_the_whole_sample_with_its_gaps_as_the_worst_is_one_of_the_beginnings(outcomes):
    pairs = drawn(*outcomes)
    whole = evidence.weigh(pairs.settled(), pairs.pending())
    found = pairs.decide().evidence
    assert found.promote >= whole.promote - 1e-9
    assert found.rollback >= whole.rollback - 1e-9


def test_labels_at_the_beginning_decide_however_many_are_missing_after_them():
    pairs = drawn(*[HARM] * 20, *[None] * 1000)
    decided = pairs.decide()
    assert (decided.kind, decided.counts.harm, decided.pending) == ("rollback", 20, 1000)
    assert evidence.decide(pairs.settled(), pairs.pending()).kind == "undecided"


def test_a_lost_label_at_the_beginning_costs_one_worst_case_and_no_more():
    pairs = drawn(None, *[HARM] * 30)
    assert pairs.decide().kind == "rollback"
    assert len(pairs.gaps) == 31


def test_agreeing_pairs_before_a_gap_count_without_it():
    # Each tie grows the promote wealth by at most log(1 + 0.95 * 0.01 / 0.99), so that with the
    # cost of the other bets some 500 decide, and one unlabelled pair would undo 300 of them.
    pairs = drawn(*[KNOWN_TIE] * 600, None)
    assert pairs.decide().kind == "promote"
    assert evidence.decide(pairs.settled(), pairs.pending()).kind == "undecided"


def test_where_both_decisions_are_allowed_rollback_wins():
    pairs = drawn(*[KNOWN_TIE] * 600, None, *[HARM] * 80)
    decided = pairs.decide()
    assert decided.evidence.promote > decided.threshold
    assert decided.kind == "rollback"


def test_settled_pairs_at_the_front_take_no_memory():
    pairs = drawn(HARM, KNOWN_TIE, GAIN, None, HARM)
    assert list(pairs.gaps) == ["3", "4"]
    pairs.settle("3", TIE)
    assert pairs.gaps == {}
    assert pairs.settled().counts == evidence.PairCounts(harm=2, gain=1, tie=2)


def test_counts_and_harm_are_those_of_all_settled_pairs_wherever_they_stand():
    decided = drawn(HARM, None, KNOWN_TIE, GAIN, HARM).decide()
    assert decided.counts == evidence.PairCounts(harm=2, gain=1, tie=1)
    assert (decided.labels, decided.pending, decided.harm) == (3, 1, 0.25)
    assert decided.label_coverage == 0.8


def test_a_gap_that_holds_up_too_many_pairs_is_given_up_and_stays_the_worst(monkeypatch):
    monkeypatch.setattr(sequences, "GAPS_KEPT", 3)
    pairs = drawn(None, HARM, KNOWN_TIE, HARM)
    before = evidence.weigh(pairs.settled(), pairs.pending())
    pairs.wait("next", 1.0)
    assert (list(pairs.gaps), pairs.given_up) == (["next"], 1)
    after = evidence.weigh(pairs.settled())
    assert after == pytest.approx(before)
    pairs.settle("0", HARM)
    assert pairs.settled().counts.harm == 2
    assert pairs.decide().pending == 2


def test_slices_are_decided_at_their_own_alpha():
    pairs = drawn(*[HARM] * 9)
    assert pairs.decide().kind == "rollback"
    strict = pairs.decide(MARGINS.at_place(99))
    # The 99th slice acts at log(99 * 100 / 0.05).
    assert (strict.kind, strict.threshold) == ("undecided", pytest.approx(math.log(198_000)))


def test_a_sequence_survives_a_checkpoint():
    pairs = drawn(HARM, KNOWN_TIE, None, HARM)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(pairs), type=sequences.PairSequence)
    assert read == pairs
    assert read.decide() == pairs.decide()


def test_the_labels_still_needed_are_estimated_from_the_gaps_or_from_the_beginning():
    assert drawn(*[HARM] * 20).labels_needed() == 0
    assert drawn().labels_needed() is None
    few = drawn(*[HARM] * 3, *[None] * 100).labels_needed()
    assert 0 < few < 20


@pytest.mark.parametrize("direction", ["rollback", "promote"])
def test_however_labels_are_lost_wrong_decisions_stay_within_alpha(direction):
    """Half of the pairs differ, at the very margin; only labels that favour the decision come.

    Of 400 candidates at most 0.05 are expected to be wrongly decided: 20, and with four standard
    deviations of sqrt(400 * 0.05 * 0.95) = 4.4 at most 37.
    """
    random = np.random.default_rng(5)
    margin = evidence.Margins(promote=0.05, rollback=0.05)
    # P(harm) - P(gain) = 0.05, the margin itself, with half of the pairs agreeing.
    draws = random.choice([HARM, GAIN, KNOWN_TIE], p=[0.275, 0.225, 0.5], size=(400, 400))
    favoured = HARM if direction == "rollback" else GAIN
    heard = np.where(draws == favoured, True, random.random(draws.shape) < 0.5)
    wrong = 0
    for outcomes, labelled in zip(draws.tolist(), heard.tolist(), strict=True):
        pairs = sequences.PairSequence(evidence.PairedState(margin))
        for place, outcome in enumerate(outcomes):
            if outcome == KNOWN_TIE:
                pairs.tie(1)
            else:
                pairs.wait(str(place), 1.0)
        for place, outcome in enumerate(outcomes):
            if outcome != KNOWN_TIE and labelled[place]:
                pairs.settle(str(place), outcome)
        wrong += pairs.decide().kind == direction
    assert wrong <= 37
