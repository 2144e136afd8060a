from __future__ import annotations

import pytest

from coppice import records
from coppice.settings import Settings
from monitoring import (
    drift,
    estimate,
    join,
    performance,
    quality,
    ranges,
    state,
    status,
    trials,
    wanted,
    watch,
    windows,
)

CHAMPION, CANDIDATE, PREVIOUS = "tiny:champion", "tiny:candidate", "tiny:previous"
LOOK = drift.DriftLook(50, {"f": 0.1}, {"f": 0.5, "g": 0.2}, {}, alarmed=False, reason="fine")


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, project={"name": "tiny"}, decay={"window": 50})


@pytest.fixture
def known(settings):
    found = state.State.empty(settings)
    found.route = state.Route(CHAMPION, CANDIDATE, PREVIOUS)
    window = found.window(CHAMPION)
    window.answered, window.labelled = 10, 4
    for score, pen in ((1.0, "ink"), (1.0, "ink"), (1.0, "lead"), (0.0, "lead")):
        window.add(windows.LabelledRow("r", 0, 1.0, score, (f"pen={pen}",)))
    found.window(CANDIDATE).answered = 3
    found.agreement[CHAMPION] = windows.Agreement(50, [True, True, False, True])
    found.reign = state.Reign(
        version=CHAMPION,
        since=0.0,
        cusum=performance.ECusum(0.9, 0.05, 1000.0),
        features=windows.FeatureWindow(50),
    )
    found.reign.drift.take(LOOK)
    trial = trials.Trial.start(join.Pair(CHAMPION, CANDIDATE), trials.Rules.of(settings), 0.0)
    trial.pending["p"] = trials.Disagreement((1.0,), (), (), (), 0.0)
    found.on_trial = [trial]
    return found


def verdict(scope, version, **evidence):
    return records.Verdict(
        model="tiny", version=version, scope=scope, kind="undecided", reason="", evidence=evidence
    )


JUDGED = status.Judged(
    champion=verdict("champion", CHAMPION, decay=-1.0, score=0.75),
    candidate=verdict("candidate", CANDIDATE, promote=2.0, rollback=-3.0, failures=-0.5, harm=0.1),
)


def seen(known, judged=JUDGED, queue=()):
    return status.of(known, judged, list(queue), model="tiny", now=7.0)


def test_the_versions_that_play_a_part_are_shown_with_their_role(known):
    found = seen(known)
    assert [(each.version, each.role) for each in found.versions] == [
        (CHAMPION, "champion"),
        (CANDIDATE, "candidate"),
    ]


def test_accuracy_is_shown_by_slice_with_its_interval(known):
    accuracy = seen(known).versions[0].accuracy
    assert {name: (score.mean, score.count) for name, score in accuracy.items()} == {
        "all": (0.75, 4),
        "pen=ink": (1.0, 2),
        "pen=lead": (0.5, 2),
    }
    assert 0.0 < accuracy["all"].low < 0.75 < accuracy["all"].high < 1.0


def test_a_version_without_labels_has_no_accuracy(known):
    candidate = seen(known).versions[1]
    assert (candidate.accuracy, candidate.label_coverage) == ({}, 0.0)


def test_agreement_with_the_dense_parent_is_shown_where_it_was_asked(known):
    champion, candidate = seen(known).versions
    assert (champion.parent_agreement, champion.parent_agreement_rows) == (0.75, 4)
    assert candidate.parent_agreement is None


def test_evidence_is_shown_without_the_other_figures_of_a_verdict(known):
    expected = {"decay": -1.0, "promote": 2.0, "rollback": -3.0, "failures": -0.5}
    assert seen(known).evidence == expected


def test_the_label_queue_is_counted_by_reason(known):
    entry = wanted.WantedLabel(
        request_id="r",
        reason="live-accuracy",
        version=CHAMPION,
        rows=None,
        divergence=0.0,
        inclusion_probability=0.02,
        seen_at=0.0,
    )
    assert seen(known, queue=[entry]).wanted == {"disagreement": 1, "live-accuracy": 1}


def test_before_the_first_event_there_is_nothing_to_show(settings):
    found = status.of(state.State.empty(settings), status.Judged(), [], model="tiny", now=0.0)
    assert (found.champion, found.versions, found.evidence, found.drift) == (None, (), {}, None)
    assert status.measurements(found) == []


def measured(known):
    return {
        (each.version, each.name, each.slice): each for each in status.measurements(seen(known))
    }


def test_measurements_hold_accuracy_evidence_drift_agreement_and_coverage(known):
    found = measured(known)
    assert set(found) == {
        (CHAMPION, "accuracy", "all"),
        (CHAMPION, "accuracy", "pen=ink"),
        (CHAMPION, "accuracy", "pen=lead"),
        (CHAMPION, "label_coverage", "all"),
        (CHAMPION, "parent_agreement", "all"),
        (CHAMPION, "drift.ratio", "all"),
        (CHAMPION, "evidence.decay", "all"),
        (CANDIDATE, "label_coverage", "all"),
        (CANDIDATE, "evidence.promote", "all"),
        (CANDIDATE, "evidence.rollback", "all"),
        (CANDIDATE, "evidence.failures", "all"),
    }


def test_a_measurement_says_on_how_many_rows_it_rests(known):
    found = measured(known)
    accuracy = found[CHAMPION, "accuracy", "all"]
    assert (accuracy.value, accuracy.count) == (0.75, 4)
    assert accuracy.low < accuracy.value < accuracy.high
    coverage = found[CHAMPION, "label_coverage", "all"]
    assert (coverage.value, coverage.count) == (0.4, 10)
    drifted = found[CHAMPION, "drift.ratio", "all"]
    assert (drifted.value, drifted.count) == (0.5, 50)


def test_what_the_champions_windows_show_is_shown_apart(known):
    reign = known.reign
    moved = drift.DriftLook(200, {}, {"label.1": 1.5}, {}, alarmed=True, reason="moved")
    reign.label_drift.take(moved)
    reign.slices["pen=ink"] = state.SliceWatch(windows.FeatureWindow(50))
    reign.slices["pen=ink"].drift.take(LOOK)
    reign.slices["pen=lead"] = state.SliceWatch(windows.FeatureWindow(50))
    guess = estimate.Estimate(mean=0.8, low=0.7, high=0.9, expected=0.9, rows=50, trusted=True)
    unseen = ranges.Violations(50, outside={"f": 2})
    reign.beside = watch.Beside(violations=unseen, estimate=guess, new_slices={"pen=chalk": 6})
    found = seen(known)
    assert (found.label_drift, found.slice_drift) == (moved, {"pen=ink": LOOK})
    assert (found.estimate, found.violations) == (guess, unseen)
    assert found.new_slices == {"pen=chalk": 6}
    assert found.drift_kinds["answers"].columns == 2


def test_before_the_first_window_nothing_is_claimed(known):
    known.reign = None
    found = seen(known)
    assert (found.drift_kinds, found.label_drift, found.estimate) == ({}, None, None)


def test_agreement_comes_with_its_interval_and_whether_it_fell(known):
    champion = seen(known).versions[0]
    # Wilson's interval of 3 of 4.
    assert champion.parent_agreement_low == pytest.approx(0.301, abs=0.001)
    assert champion.parent_agreement_high == pytest.approx(0.954, abs=0.001)
    assert not champion.parent_agreement_fell


def test_the_measures_of_a_version_are_its_own(known):
    measures = {CHAMPION: {"all": quality.Quality(4, {"mae": quality.Figure(1.0, 0.5, 1.5)})}}
    found = status.of(known, JUDGED, [], model="tiny", now=7.0, measures=measures)
    assert found.versions[0].measures == measures[CHAMPION]
    assert found.versions[1].measures == {}


def test_label_delays_are_those_of_recent_labels(known):
    # Labels that came with their rows took no time.
    assert seen(known).versions[0].label_delay == quality.Delay(0.0, 0.0)
    assert seen(known).versions[1].label_delay is None


@pytest.mark.parametrize(("trusted", "name"), [(True, "trusted"), (False, "untrusted")])
def test_an_estimate_is_kept_in_the_log_under_a_name_that_says_its_worth(known, trusted, name):
    guess = estimate.Estimate(mean=0.8, low=0.7, high=0.9, expected=0.9, rows=50, trusted=trusted)
    known.reign.beside = watch.Beside(estimate=guess)
    (kept,) = [
        each for each in status.measurements(seen(known)) if each.name.startswith("estimate")
    ]
    assert (kept.name, kept.value, kept.count) == (f"estimate.{name}", 0.8, 50)
