from __future__ import annotations

import pytest

from coppice.settings import Settings
from monitoring import estimate, join, performance, state, trials, wanted, watch, windows

STABLE, CANDIDATE = "tiny:stable", "tiny:candidate"


@pytest.fixture
def settings(tmp_path):
    return tree(tmp_path)


def tree(root, **evidence):
    return Settings(
        root=root,
        project={"name": "tiny", "task": "regression"},
        evidence={"live_rate": 0.05, "audit_rate": 0.5, **evidence},
        rollout={"mirror": 0.8},
    )


def known(settings, pending=(), draws=()):
    found = state.State.empty(settings)
    found.route = state.Route(STABLE, CANDIDATE)
    trial = trials.Trial.start(join.Pair(STABLE, CANDIDATE), trials.Rules.of(settings), 0.0)
    trial.pending = {
        f"pair-{place}": trials.Disagreement(divergences, (), (), (), float(place))
        for place, divergences in enumerate(pending)
    }
    found.on_trial = [trial]
    found.live = {
        f"live-{place}": state.LiveRequest(draw, STABLE, float(place))
        for place, draw in enumerate(draws)
    }
    return found


def ids(entries):
    return [entry.request_id for entry in entries]


def test_disagreements_come_by_their_greatest_divergence_and_the_oldest_first(settings):
    found = known(settings, pending=[(0.2,), (0.0, 0.9), (0.5,), (0.9,)])
    entries = wanted.queue(found, settings, 10, eager=False)
    assert ids(entries) == ["pair-1", "pair-3", "pair-2", "pair-0"]


def test_an_entry_says_which_rows_differ_and_how_it_came_to_be_asked_for(settings):
    found = known(settings, pending=[(0.0, 0.9, 0.1)])
    (entry,) = wanted.queue(found, settings, 10, eager=False)
    assert entry == wanted.WantedLabel(
        request_id="pair-0",
        reason="disagreement",
        version=CANDIDATE,
        rows=(1, 2),
        divergence=0.9,
        inclusion_probability=0.4,  # audited with 0.5, of the 0.8 that are mirrored
        seen_at=0.0,
    )


def test_the_sample_for_live_accuracy_holds_the_draws_below_its_rate_newest_first(settings):
    found = known(settings, draws=[0.01, 0.049, 0.05, 0.4])
    entries = wanted.queue(found, settings, 10, eager=False)
    assert ids(entries) == ["live-1", "live-0"]
    assert {(entry.reason, entry.inclusion_probability) for entry in entries} == {
        ("live-accuracy", 0.05)
    }


def test_while_a_cause_is_open_more_labels_are_asked_for_and_they_come_first(settings):
    found = known(settings, pending=[(1.0,)], draws=[0.01, 0.4, 0.6])
    entries = wanted.queue(found, settings, 10, eager=True)
    assert ids(entries) == ["live-1", "live-0", "pair-0"]
    assert entries[0].inclusion_probability == 0.5


def test_a_long_queue_of_disagreements_leaves_places_for_live_accuracy(settings):
    found = known(settings, pending=[(1.0,)] * 20, draws=[0.01] * 20)
    entries = wanted.queue(found, settings, 8, eager=False)
    assert [entry.reason for entry in entries] == ["disagreement"] * 6 + ["live-accuracy"] * 2


def test_places_that_disagreements_do_not_need_go_to_live_accuracy(settings):
    found = known(settings, pending=[(1.0,)], draws=[0.01] * 20)
    entries = wanted.queue(found, settings, 8, eager=False)
    assert [entry.reason for entry in entries] == ["disagreement"] + ["live-accuracy"] * 7


def test_a_request_is_asked_for_once(settings):
    found = known(settings, pending=[(1.0,)])
    found.live = {"pair-0": state.LiveRequest(0.01, STABLE, 0.0)}
    assert ids(wanted.queue(found, settings, 10, eager=False)) == ["pair-0"]


def test_natural_labels_are_not_asked_for_disagreements(tmp_path):
    natural = tree(tmp_path, mode="natural")
    found = known(natural, pending=[(1.0,)], draws=[0.01])
    assert ids(wanted.queue(found, natural, 10, eager=False)) == ["live-0"]


def test_without_a_candidate_only_live_accuracy_is_asked_for(settings):
    found = known(settings, pending=[(1.0,)], draws=[0.01])
    found.route = state.Route(STABLE)
    assert ids(wanted.queue(found, settings, 10, eager=False)) == ["live-0"]


def test_no_places_hold_no_entries(settings):
    found = known(settings, pending=[(1.0,)], draws=[0.01])
    assert wanted.queue(found, settings, 0, eager=False) == []


def reigning(tmp_path, *, mean=0.95, agreed=1.0):
    """A champion expected at 95%, with what is estimated of it and how its parent agrees lately."""
    tree = Settings(root=tmp_path, project={"name": "tiny"})
    found = state.State.empty(tree)
    found.reign = state.Reign(
        "tiny:a", 0.0, performance.ECusum(0.95, 0.05, 100.0), windows.FeatureWindow(50)
    )
    guess = estimate.Estimate(mean=mean, low=0.0, high=1.0, expected=0.95, rows=400)
    found.reign.beside = watch.Beside(estimate=guess)
    found.agreement["tiny:a"] = windows.Agreement(limit=100)
    found.agreement["tiny:a"].add([True] * 100)
    found.agreement["tiny:a"].add([number < 100 * agreed for number in range(100)])
    return found


def test_a_champion_that_does_as_expected_is_not_doubtful(tmp_path):
    assert not wanted.is_doubtful(reigning(tmp_path), tolerance=0.05)


def test_a_fallen_estimate_is_a_doubt_though_it_is_not_trusted(tmp_path):
    found = reigning(tmp_path, mean=0.85)
    assert not found.reign.beside.estimate.trusted
    assert wanted.is_doubtful(found, tolerance=0.05)


def test_fallen_agreement_with_the_dense_parent_is_a_doubt(tmp_path):
    assert wanted.is_doubtful(reigning(tmp_path, agreed=0.7), tolerance=0.05)


def test_without_a_champion_or_its_windows_there_is_no_doubt(tmp_path):
    found = reigning(tmp_path)
    found.reign.beside, found.agreement = None, {}
    assert not wanted.is_doubtful(found, tolerance=0.05)
    found.reign = None
    assert not wanted.is_doubtful(found, tolerance=0.05)
