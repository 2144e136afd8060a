from __future__ import annotations

import pytest

from coppice import errors
from monitoring import answers, join
from tests.support import traffic

SCORING = answers.Scoring("binary", ("no", "yes"), 1.0)
STABLE, CANDIDATE = "tiny:stable", "tiny:candidate"
PAIR = join.Pair(STABLE, CANDIDATE)


@pytest.fixture
def requests() -> join.Join:
    return join.Join(limit=3)


def predict(requests, request_id="r", rows=(1,), now=0.0, version=STABLE):
    record = traffic.prediction(request_id, version, rows)
    return requests.prediction(record, ("pen=ink",), SCORING, now)


def mirror(requests, request_id="r", rows=(0,), now=0.0, **fields):
    record = traffic.shadow(request_id, CANDIDATE, rows, **fields)
    return requests.shadow(record, SCORING, now)


def label(requests, request_id="r", given=("yes",), now=0.0, *, scoring=SCORING):
    return requests.feedback(traffic.feedback(request_id, *given), scoring, now)


GIVEN = traffic.one_hot([1])["scores"].data
YES = join.Scored("r", STABLE, (1.0,), (1.0,), ("pen=ink",), GIVEN)


def test_a_label_after_its_prediction_scores_the_answer(requests):
    assert predict(requests) == []
    assert label(requests) == [YES]


def test_a_score_tells_how_long_its_label_took(requests):
    predict(requests, now=100.0)
    assert [fact.delay for fact in label(requests, now=130.0)] == [30.0]


def test_a_label_from_a_clock_that_is_behind_took_no_time(requests):
    predict(requests, now=100.0)
    assert [fact.delay for fact in label(requests, now=40.0)] == [0.0]


def test_a_label_before_its_prediction_waits_for_it(requests):
    assert label(requests, scoring=None) == []
    assert predict(requests) == [YES]


def test_a_shadow_after_its_prediction_makes_a_fresh_pair_without_truth(requests):
    predict(requests, now=7.0)
    expected = join.Paired("r", PAIR, (1.0,), (0.0,), None, ("pen=ink",), fresh=True, seen_at=7.0)
    assert mirror(requests, now=8.0) == [expected]


def test_a_shadow_before_its_prediction_waits_for_it(requests):
    assert mirror(requests, now=7.0) == []
    (pair,) = predict(requests, now=8.0)
    assert (pair.stable, pair.candidate, pair.fresh, pair.seen_at) == ((1.0,), (0.0,), True, 7.0)


def test_a_late_label_states_the_pair_again_and_scores_both_versions(requests):
    predict(requests)
    mirror(requests)
    pair, *scored = label(requests)
    assert (pair.targets, pair.fresh) == ((1.0,), False)
    assert {(fact.version, fact.answers) for fact in scored} == {
        (STABLE, (1.0,)),
        (CANDIDATE, (0.0,)),
    }


def test_a_shadow_that_comes_after_the_label_makes_a_fresh_pair_with_truth(requests):
    predict(requests)
    label(requests)
    pair, scored = mirror(requests)
    assert (pair.targets, pair.fresh) == ((1.0,), True)
    assert scored.version == CANDIDATE


@pytest.mark.parametrize(
    "order",
    ["psl", "pls", "spl", "slp", "lps", "lsp"],
)
def test_whatever_the_order_each_answer_is_scored_once_and_the_truth_reaches_the_pair(
    requests, order
):
    steps = {"p": predict, "s": mirror, "l": label}
    facts = [fact for step in order for fact in steps[step](requests)]
    scored = [fact.version for fact in facts if isinstance(fact, join.Scored)]
    pairs = [fact for fact in facts if isinstance(fact, join.Paired)]
    assert sorted(scored) == [CANDIDATE, STABLE]
    assert [pair.fresh for pair in pairs].count(True) == 1
    assert [pair.targets for pair in pairs].count((1.0,)) == 1


def test_the_pair_is_oriented_alike_when_the_candidate_answered_the_client(requests):
    predict(requests, version=CANDIDATE, rows=(0,))
    record = traffic.shadow("r", STABLE, (1,), role="champion", against=CANDIDATE)
    (pair,) = requests.shadow(record, SCORING, 0.0)
    assert (pair.pair, pair.stable, pair.candidate) == (PAIR, (1.0,), (0.0,))


def test_an_answer_of_the_dense_parent_is_scored_but_makes_no_pair(requests):
    predict(requests)
    record = traffic.shadow("r", "tiny:parent", (1,), role="parent")
    assert requests.shadow(record, SCORING, 0.0) == []
    assert [fact.version for fact in label(requests)] == [STABLE, "tiny:parent"]


def test_rows_of_a_request_are_labelled_one_by_one(requests):
    predict(requests, rows=(1, 0, 1))
    (scored,) = label(requests, given=("yes", "yes", 1))
    assert (scored.answers, scored.targets) == ((1.0, 0.0, 1.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("given", [("maybe",), ("yes", "no")], ids=["no class", "too many"])
def test_labels_that_do_not_fit_are_counted_once_and_never_scored(requests, given):
    predict(requests)
    assert label(requests, given=given) == []
    assert mirror(requests)[0].targets is None
    assert requests.oddities == {"invalid_label": 1}


def test_a_repeated_label_is_counted_and_the_first_stands(requests):
    predict(requests)
    label(requests)
    assert label(requests, given=("no",)) == []
    assert requests.oddities == {"repeated_label": 1}
    assert mirror(requests)[0].targets == (1.0,)


def test_a_repeated_prediction_is_told_from_a_new_one(requests):
    record = traffic.prediction("r", STABLE, (1,))
    assert not requests.repeats(record)
    predict(requests)
    assert requests.repeats(record)
    assert requests.oddities == {"repeated_prediction": 1}


def test_a_repeated_shadow_is_told_from_a_new_one(requests):
    record = traffic.shadow("r", CANDIDATE, (1,))
    mirror(requests)
    assert requests.repeats(record)
    assert not requests.repeats(traffic.shadow("r", "tiny:parent", (1,), role="parent"))
    assert requests.oddities == {"repeated_shadow": 1}


def test_an_answer_with_another_number_of_rows_is_refused(requests):
    predict(requests)
    with pytest.raises(errors.UndecodableEvent, match="2 rows"):
        mirror(requests, rows=(0, 1))


def test_the_oldest_request_is_forgotten_beyond_the_limit(requests):
    for name in ("a", "b", "c", "d"):
        predict(requests, name)
    assert list(requests.waiting) == ["b", "c", "d"]
    assert requests.oddities == {"unlabelled": 1}


def test_a_label_whose_prediction_never_came_is_counted_when_it_is_forgotten(requests):
    label(requests, "lost", scoring=None)
    for name in ("a", "b", "c"):
        predict(requests, name)
    assert requests.oddities == {"unknown_request": 1}


def test_a_failed_request_has_nothing_to_join(requests):
    requests.failure(traffic.prediction("r", STABLE, (), error="boom"), 0.0)
    assert label(requests) == []
    for name in ("a", "b", "c"):
        predict(requests, name)
    assert requests.oddities == {}
