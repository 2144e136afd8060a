from __future__ import annotations

import msgspec
import pytest

from coppice import labels
from coppice.settings import Settings
from monitoring import answers, evidence, join, trials

SCORING = answers.Scoring("binary", ("no", "yes"), 1.0)
VALUES = answers.Scoring("regression", (), 2.0)
PAIR = join.Pair("tiny:stable", "tiny:candidate")
RULES = trials.Rules(
    margins=evidence.Margins(),
    asked=True,
    audit_key="key",
    audit_rate=1.0,
    max_error_rate=0.01,
    pending_limit=1000,
)
NATURAL = msgspec.structs.replace(RULES, asked=False)


def start(rules=RULES):
    return trials.Trial.start(PAIR, rules, since=10.0)


def pair(request_id="r", stable=(1.0,), candidate=(1.0,), targets=None, **fields):
    plain = {"slices": (), "fresh": True, "seen_at": 20.0}
    return join.Paired(request_id, PAIR, stable, candidate, targets, **{**plain, **fields})


def counts(trial):
    return tuple(trial.overall.settled().counts)


HARM, GAIN, TIE = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def test_an_agreeing_pair_is_a_tie_at_once_and_needs_no_label():
    trial = start()
    trial.take(pair(), SCORING, RULES)
    assert counts(trial) == TIE
    assert (trial.pending, trial.overall.settled().labels) == ({}, 0)


def test_a_disagreeing_pair_waits_for_its_label():
    trial = start()
    trial.take(pair(candidate=(0.0,)), SCORING, RULES)
    assert counts(trial) == (0, 0, 0)
    assert trial.overall.pending() == [1.0]


@pytest.mark.parametrize(("truth", "expected"), [(1.0, HARM), (0.0, GAIN)])
def test_the_label_of_a_disagreement_settles_it(truth, expected):
    trial = start()
    trial.take(pair(candidate=(0.0,)), SCORING, RULES)
    late = pair(candidate=(0.0,), targets=(truth,), fresh=False)
    trial.take(late, SCORING, RULES)
    assert (counts(trial), trial.pending) == (expected, {})
    trial.take(late, SCORING, RULES)
    assert counts(trial) == expected


def test_a_disagreement_on_a_class_that_is_neither_is_a_labelled_tie():
    scoring = answers.Scoring("multiclass", ("a", "b", "c"), 1.0)
    trial = start()
    trial.take(pair(candidate=(0.0,), targets=(2.0,)), scoring, RULES)
    assert counts(trial) == TIE
    assert trial.overall.settled().labels == 1


def test_a_pair_that_comes_with_its_truth_is_settled_at_once():
    trial = start()
    trial.take(pair(candidate=(0.0,), targets=(1.0,)), SCORING, RULES)
    assert (counts(trial), trial.pending) == (HARM, {})


def test_rows_of_one_request_are_separate_outcomes():
    trial = start()
    rows = {"stable": (1.0, 1.0, 0.0), "candidate": (1.0, 0.0, 1.0)}
    trial.take(pair(**rows), SCORING, RULES)
    assert counts(trial) == TIE
    assert trial.overall.pending() == [1.0, 1.0]
    trial.take(pair(**rows, targets=(1.0, 1.0, 1.0), fresh=False), SCORING, RULES)
    assert counts(trial) == (1, 1, 1)


def test_pairs_outside_of_the_audit_sample_do_not_count():
    rules = msgspec.structs.replace(RULES, audit_rate=0.5)
    trial = start(rules)
    names = [f"request-{number}" for number in range(200)]
    for name in names:
        trial.take(pair(name, candidate=(0.0,)), SCORING, rules)
    audited = [name for name in names if labels.audited("key", PAIR.candidate, name, 0.5)]
    assert list(trial.pending) == audited
    # 200 draws at one half: 100, give or take four deviations of 7.
    assert 72 <= len(audited) <= 128


def test_a_label_for_a_pair_outside_of_the_sample_changes_nothing():
    rules = msgspec.structs.replace(RULES, audit_rate=1e-9)
    trial = start(rules)
    trial.take(pair(candidate=(0.0,)), SCORING, rules)
    trial.take(pair(candidate=(0.0,), targets=(1.0,), fresh=False), SCORING, rules)
    assert counts(trial) == (0, 0, 0)


def test_while_too_many_labels_are_outstanding_no_pair_joins_the_sample():
    rules = msgspec.structs.replace(RULES, pending_limit=2)
    trial = start(rules)
    for name in ("a", "b"):
        trial.take(pair(name, candidate=(0.0,)), SCORING, rules)
    trial.take(pair("c", candidate=(0.0,)), SCORING, rules)
    trial.take(pair("d"), SCORING, rules)
    assert (list(trial.pending), counts(trial), trial.passed_over) == (["a", "b"], (0, 0, 0), 2)


def test_requests_from_before_the_trial_do_not_count():
    trial = start()
    trial.take(pair(seen_at=9.9), SCORING, RULES)
    assert counts(trial) == (0, 0, 0)


def test_naturally_labelled_pairs_count_whether_they_agree_or_not():
    trial = start(NATURAL)
    trial.take(pair("a"), SCORING, NATURAL)
    trial.take(pair("b", candidate=(0.0,)), SCORING, NATURAL)
    assert (counts(trial), trial.pending) == ((0, 0, 0), {})
    trial.take(pair("a", targets=(1.0,), fresh=False), SCORING, NATURAL)
    trial.take(pair("b", candidate=(0.0,), targets=(1.0,), fresh=False), SCORING, NATURAL)
    assert counts(trial) == (1, 0, 1)
    assert trial.overall.settled().labels == 2


def test_label_rates_of_agreeing_and_disagreeing_pairs_are_kept_apart():
    trial = start(NATURAL)
    trial.take(pair("a"), SCORING, NATURAL)
    trial.take(pair("b", candidate=(0.0,)), SCORING, NATURAL)
    trial.take(pair("b", candidate=(0.0,), targets=(1.0,), fresh=False), SCORING, NATURAL)
    trial.take(pair("c", candidate=(0.0,), targets=(1.0,)), SCORING, NATURAL)
    assert (trial.agreeing.rows, trial.agreeing.labelled) == (1, 0)
    assert (trial.disagreeing.rows, trial.disagreeing.labelled) == (2, 2)


def test_a_regression_waits_with_the_distance_of_its_answers():
    trial = start()
    trial.take(pair(stable=(3.0,), candidate=(4.0,)), VALUES, RULES)
    assert trial.overall.pending() == [0.5]
    # Truth 3: stable scores 1, the candidate 1 - 1/2.
    trial.take(pair(stable=(3.0,), candidate=(4.0,), targets=(3.0,), fresh=False), VALUES, RULES)
    assert trial.overall.settled().total == 0.5


def test_values_that_lie_close_together_count_as_agreeing_and_still_wait_for_their_label():
    trial = start()
    # Scale 2: a distance of 0.1 is 0.05 of it, one of 1 is half.
    trial.take(pair("a", stable=(3.0,), candidate=(3.1,)), VALUES, RULES)
    trial.take(pair("b", stable=(3.0,), candidate=(4.0,), targets=(3.0,)), VALUES, RULES)
    assert (trial.agreeing.rows, trial.agreeing.labelled) == (1, 0)
    assert (trial.disagreeing.rows, trial.disagreeing.labelled) == (1, 1)
    # Small as it is, it may do harm: what is decided rests on the distance itself.
    assert trial.overall.pending() == pytest.approx([0.05])


def test_slices_are_decided_apart_at_their_share_of_alpha():
    trial = start()
    for number in range(60):
        fields = {"slices": ("pen=ink",), "targets": (1.0,)}
        trial.take(pair(f"ink-{number}", candidate=(0.0,), **fields), SCORING, RULES)
        trial.take(pair(f"lead-{number}", slices=("pen=lead",)), SCORING, RULES)
    decided = trial.decide_slices()
    assert (decided["pen=ink"].kind, decided["pen=lead"].kind) == ("rollback", "undecided")
    # In order of appearance they act at log(1 * 2 / 0.05) and log(2 * 3 / 0.05).
    assert decided["pen=ink"].threshold == pytest.approx(3.688879)
    assert decided["pen=lead"].threshold == pytest.approx(4.787492)


def test_a_slice_that_appears_late_leaves_the_threshold_of_the_earlier_ones_as_it_was():
    trial = start()
    trial.take(pair("a", slices=("pen=ink",)), SCORING, RULES)
    before = trial.decide_slices()["pen=ink"].threshold
    trial.take(pair("b", slices=("pen=lead",)), SCORING, RULES)
    trial.take(pair("c", slices=("pen=chalk",)), SCORING, RULES)
    assert trial.decide_slices()["pen=ink"].threshold == before


def test_a_restart_in_between_leaves_every_slice_its_place():
    trial = start()
    for name in ("pen=lead", "pen=ink", "pen=chalk"):
        trial.take(pair(name, slices=(name,)), SCORING, RULES)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(trial), type=trials.Trial)
    assert read.decide_slices() == trial.decide_slices()


def test_a_pending_disagreement_weighs_on_its_slices_too():
    trial = start()
    trial.take(pair(candidate=(0.0,), slices=("pen=ink",)), SCORING, RULES)
    assert trial.decide_slices()["pen=ink"].pending == 1


def test_failures_count_beside_the_pairs():
    trial = start()
    trial.attempt(failed=True)
    trial.attempt(failed=False)
    assert (trial.failures.failures, trial.failures.trials) == (1, 2)


def filled(agreeing_labelled):
    trial = start()
    trial.agreeing = trials.Stratum(rows=998, labelled=agreeing_labelled)
    trial.disagreeing = trials.Stratum(rows=98, labelled=98)
    return trial


def test_where_only_disagreements_are_labelled_few_of_them_stand_for_the_traffic():
    names = [f"request-{number}" for number in range(1000)]
    standing = [filled(99).representative(name, RULES, agrees=False) for name in names]
    # Rates (99 + 1) / 1000 against (98 + 1) / 100: of 1000 about 101, give or take 38.
    assert 63 <= sum(standing) <= 139


def test_where_everything_is_labelled_every_request_stands_for_the_traffic():
    assert filled(998).representative("request", RULES, agrees=False)


def test_an_agreeing_request_always_stands_for_the_traffic():
    assert filled(0).representative("request", RULES, agrees=True)


def test_where_labels_are_not_asked_for_every_request_stands_for_the_traffic():
    names = [f"request-{number}" for number in range(100)]
    assert all(filled(0).representative(name, NATURAL, agrees=False) for name in names)


def test_rules_come_from_the_settings_and_rollback_defaults_to_the_promote_margin(tmp_path):
    tree = Settings(
        root=tmp_path,
        project={"name": "tiny"},
        evidence={"promote_margin": 0.03, "audit_rate": 0.5, "mode": "natural"},
    )
    rules = trials.Rules.of(tree)
    assert (rules.margins.promote, rules.margins.rollback) == (0.03, 0.03)
    assert (rules.asked, rules.audit_rate) == (False, 0.5)


def test_a_trial_survives_a_checkpoint():
    trial = start()
    trial.take(pair(candidate=(0.0,)), SCORING, RULES)
    trial.take(pair("b", slices=("pen=ink",)), SCORING, RULES)
    written = msgspec.msgpack.encode(trial)
    read = msgspec.msgpack.decode(written, type=trials.Trial)
    assert read == trial
    assert b"key" not in written


def test_a_label_that_never_comes_does_not_keep_others_out_of_the_sample_for_good():
    rules = msgspec.structs.replace(RULES, pending_limit=1, patience=100.0)
    trial = start(rules)
    trial.take(pair("lost", candidate=(0.0,), seen_at=20.0), SCORING, rules)
    trial.take(pair("early", candidate=(0.0,), seen_at=119.0), SCORING, rules)
    # 121 - 20 > 100 seconds: the first label is no longer waited for, but its pair still counts.
    trial.take(pair("later", candidate=(0.0,), seen_at=121.0), SCORING, rules)
    assert list(trial.pending) == ["lost", "later"]


def alone(version, answers, targets, *slices):
    return join.Scored("r", version, answers, targets, slices)


def test_a_slice_pairs_the_requests_of_its_own():
    trial = start(NATURAL)
    trial.take_alone(alone(PAIR.stable, (1.0,), (1.0,), "pen=ink"), SCORING)
    trial.take_alone(alone(PAIR.candidate, (0.0,), (1.0,), "pen=lead"), SCORING)
    assert counts(trial) == HARM
    assert [pairs.settled().pairs for pairs in trial.slices.values()] == [0, 0]
    trial.take_alone(alone(PAIR.stable, (1.0,), (1.0,), "pen=lead"), SCORING)
    assert trial.slices["pen=lead"].settled().counts.harm == 1


def test_a_request_of_several_rows_counts_once_with_its_mean_score():
    trial = start(NATURAL)
    trial.take_alone(alone(PAIR.stable, (1.0, 0.0), (1.0, 0.0)), SCORING)
    trial.take_alone(alone(PAIR.candidate, (1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)), SCORING)
    # All right beside one right of four: 1 - 0.25.
    assert trial.overall.settled().harm == pytest.approx(0.75)


def test_requests_that_wait_for_the_other_lane_survive_a_checkpoint():
    trial = start(NATURAL)
    trial.take_alone(alone(PAIR.stable, (1.0,), (1.0,)), SCORING)
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(trial), type=trials.Trial)
    restored.take_alone(alone(PAIR.candidate, (0.0,), (1.0,)), SCORING)
    assert counts(restored) == HARM
