from __future__ import annotations

import msgspec
import numpy as np
import pytest

from coppice import artifact, errors, records
from coppice.settings import Settings
from monitoring import drift, intake, join, state, watch
from tests.support import traffic

STABLE, CANDIDATE, PARENT = "tiny:stable", "tiny:candidate", "tiny:parent"
PAIR = join.Pair(STABLE, CANDIDATE)


class Known:
    """Knows three versions, and that each window of features is one more alarm."""

    def __init__(self):
        self.looked = []

    def manifest(self, version):
        if version not in {STABLE, CANDIDATE, PARENT}:
            message = f"there is no {version}"
            raise errors.UnknownVersion(message)
        return artifact.Manifest(
            name="tiny",
            task="binary",
            classes=("no", "yes"),
            inputs=(artifact.TensorSpec("x", "float32", (4,)),),
            accepted=0.9,
            accepted_rows=1000,
            created_at=0.0,
        )

    def look(self, version, features):
        self.looked.append((version, features.shape))
        return drift.DriftLook(len(features), {}, {"f": 2.0}, {}, alarmed=True, reason="drifts")

    def beside(self, _version, _features, _look, seen):
        return watch.Beside(new_slices=dict(seen))

    def slice_look(self, _version, name, features):
        self.looked.append((name, features.shape))
        return drift.DriftLook(len(features), {}, {"f": 0.5}, {}, alarmed=False, reason="fine")

    def label_look(self, _version, targets):
        self.looked.append(("labels", tuple(targets)))
        return drift.DriftLook(len(targets), {}, {}, {}, alarmed=True, reason="labels drift")


@pytest.fixture
def settings(tmp_path):
    return Settings(
        root=tmp_path,
        project={"name": "tiny", "task": "binary"},
        drift={"window": 50},
        decay={"window": 50},
        evidence={"live_rate": 0.05},
        monitor={"join_limit": 1000},
    )


@pytest.fixture
def known():
    return Known()


@pytest.fixture
def fold(settings, known):
    return intake.Intake(state.State.empty(settings), settings, known)


def take(fold, *found, now=100.0):
    for record in found:
        fold.take(records.seal(record, source="test", now=now))


def rollout(**fields):
    plain = {"stage": "idle", "champion": STABLE, "outcome": "promoted", "reason": ""}
    return records.Rollout(model="tiny", **{**plain, **fields})


STARTED = {"stage": "shadow", "candidate": CANDIDATE, "outcome": "started"}


def test_a_rollout_event_tells_who_reigns_and_who_is_on_trial(fold):
    take(fold, rollout(**STARTED, previous="tiny:previous"))
    assert fold.state.route == state.Route(STABLE, CANDIDATE, "tiny:previous")
    assert fold.state.reign.version == STABLE
    assert fold.state.current_trial().pair == PAIR


def test_a_reign_begins_with_what_the_version_was_accepted_with(fold):
    take(fold, rollout())
    assert (fold.state.reign.cusum.accepted, fold.state.reign.cusum.rows) == (0.9, 1000)


def test_a_labelled_answer_of_the_champion_feeds_its_alarm_and_its_window(fold):
    take(fold, rollout(), traffic.prediction("r", STABLE, [1]), traffic.feedback("r", "no"))
    reign = fold.state.reign
    assert (reign.alarm().count, reign.answered, reign.labelled) == (1, 1, 1)
    assert [row.score for row in fold.state.recent[STABLE].recent()] == [0.0]


def test_an_answer_of_another_version_does_not_feed_the_champions_alarm(fold):
    take(fold, rollout(), traffic.prediction("r", CANDIDATE, [1]), traffic.feedback("r", "no"))
    assert fold.state.reign.alarm().count == 0
    assert len(fold.state.recent[CANDIDATE].recent()) == 1


def test_the_champions_mirrored_answers_count_as_its_own(fold):
    mirrored = traffic.shadow("r", STABLE, [1], role="champion", against=CANDIDATE)
    take(
        fold,
        rollout(**STARTED),
        traffic.prediction("r", CANDIDATE, [0], lane="canary"),
        mirrored,
        traffic.feedback("r", "yes"),
    )
    assert [row.score for row in fold.state.recent[STABLE].recent()] == [1.0]
    assert fold.state.current_trial().overall.settled().counts.harm == 1


def test_a_new_champion_begins_a_new_reign_and_keeps_what_it_showed_as_a_candidate(fold):
    take(
        fold,
        rollout(**STARTED),
        traffic.prediction("r", STABLE, [1]),
        traffic.shadow("r", CANDIDATE, [1]),
        traffic.feedback("r", "yes"),
        rollout(champion=CANDIDATE, previous=STABLE),
    )
    assert (fold.state.reign.version, fold.state.reign.alarm().count) == (CANDIDATE, 0)
    assert len(fold.state.recent[CANDIDATE].recent()) == 1


def test_a_step_of_the_same_champion_does_not_begin_a_new_reign(fold):
    take(fold, rollout(), traffic.prediction("r", STABLE, [1]), traffic.feedback("r", "no"))
    take(fold, rollout(**STARTED))
    assert fold.state.reign.alarm().count == 1


def test_a_candidate_that_is_tried_again_starts_without_its_old_evidence(fold):
    agreeing = (traffic.prediction("r", STABLE, [1]), traffic.shadow("r", CANDIDATE, [1]))
    take(fold, rollout(**STARTED), *agreeing)
    assert fold.state.current_trial().overall.settled().pairs == 1
    take(fold, rollout(outcome="rolled-back"))
    assert fold.state.current_trial() is None
    take(fold, rollout(**STARTED))
    assert fold.state.current_trial().overall.settled().pairs == 0


def test_the_next_canary_step_keeps_the_evidence(fold):
    take(
        fold,
        rollout(**STARTED),
        traffic.prediction("r", STABLE, [1]),
        traffic.shadow("r", CANDIDATE, [1]),
        rollout(**{**STARTED, "stage": "canary", "outcome": "advanced"}),
    )
    assert fold.state.current_trial().overall.settled().pairs == 1


def attempts(fold):
    failures = fold.state.current_trial().failures
    return failures.failures, failures.trials


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (traffic.shadow("r", CANDIDATE, [1]), (0, 1)),
        (traffic.shadow("r", CANDIDATE, [], outputs={}, error="boom"), (1, 1)),
        (traffic.shadow("r", PARENT, [], outputs={}, role="parent", error="boom"), (0, 0)),
        (traffic.prediction("r", CANDIDATE, [1], lane="canary"), (0, 1)),
        (traffic.prediction("r", CANDIDATE, [], lane="canary", error="boom"), (1, 1)),
        (
            traffic.prediction("r", STABLE, [1], fallback="slow", fallback_version=CANDIDATE),
            (1, 1),
        ),
        (traffic.prediction("r", STABLE, [1]), (0, 0)),
        (traffic.prediction("r", STABLE, [], error="boom"), (0, 0)),
    ],
    ids=[
        "mirrored",
        "mirrored and failed",
        "parent failed",
        "canary",
        "canary failed",
        "fell back",
        "stable",
        "stable failed",
    ],
)
def test_what_the_candidate_was_asked_counts_as_an_attempt(fold, record, expected):
    take(fold, rollout(**STARTED), record)
    assert attempts(fold) == expected


def test_repeats_count_nothing_twice(fold):
    twice = (
        traffic.prediction("r", STABLE, [1]),
        traffic.shadow("r", CANDIDATE, [1]),
        traffic.feedback("r", "yes"),
    ) * 2
    take(fold, rollout(**STARTED), *twice)
    assert (fold.state.reign.answered, fold.state.reign.labelled) == (1, 1)
    assert attempts(fold) == (0, 1)
    assert fold.state.requests.oddities == {
        "repeated_prediction": 1,
        "repeated_shadow": 1,
        "repeated_label": 1,
    }


def test_agreement_with_the_dense_parent_is_kept_for_the_version_that_answered(fold):
    mirrored = traffic.shadow("r", PARENT, [0], role="parent", agrees=(False,))
    take(fold, rollout(), traffic.prediction("r", STABLE, [1]), mirrored)
    assert fold.state.agreement[STABLE].recent() == [False]
    assert fold.state.on_trial == []


def test_a_disagreement_is_settled_although_its_request_is_long_forgotten(fold):
    take(
        fold,
        rollout(**STARTED),
        traffic.prediction("old", STABLE, [1]),
        traffic.shadow("old", CANDIDATE, [0]),
    )
    take(fold, *(traffic.prediction(f"r{number}", STABLE, [1]) for number in range(1000)))
    assert "old" not in fold.state.requests.waiting
    take(fold, traffic.feedback("old", "yes"))
    assert fold.state.current_trial().overall.settled().counts.harm == 1


def test_features_of_the_champion_are_looked_at_in_full_windows(fold, known):
    features = records.Tensor.of(np.zeros((1, 6), dtype=np.float32))
    served = [traffic.prediction(f"r{n}", STABLE, [1], features=features) for n in range(99)]
    other = traffic.prediction("canary", CANDIDATE, [1], features=features)
    take(fold, rollout(), other, *served)
    assert known.looked == [(STABLE, (50, 6))]
    assert fold.state.reign.drift.windows == 1
    assert fold.state.reign.drift.ratio == 2.0


def test_the_sample_for_live_accuracy_is_drawn_by_request_id_and_emptied_by_labels(fold):
    served = [traffic.prediction(f"r{number}", STABLE, [1]) for number in range(400)]
    take(fold, rollout(), *served)
    # Kept for the eager rate, 10 * 0.05 = 0.5: 200 of 400 give or take four deviations of 10.
    assert 160 <= len(fold.state.live) <= 240
    first = next(iter(fold.state.live))
    take(fold, traffic.feedback(first, "yes"))
    assert first not in fold.state.live


def test_what_was_announced_is_read_back_from_the_log(fold):
    said = records.Verdict(
        model="tiny", version=STABLE, scope="champion", kind="healthy", reason=""
    )
    take(fold, rollout(), said)
    assert fold.state.announced_of("champion", STABLE) == said
    assert fold.state.announced_of("candidate", STABLE) is None


def test_what_was_announced_of_an_earlier_reign_is_forgotten(fold):
    said = records.Verdict(model="tiny", version=STABLE, scope="champion", kind="decay", reason="")
    take(fold, rollout(), said, rollout(champion=CANDIDATE), rollout())
    assert fold.state.announced_of("champion", STABLE) is None


def test_events_of_another_model_are_passed_over(fold):
    event = records.seal(traffic.prediction("r", STABLE, [1]), source="test", now=0.0)
    fold.take(msgspec.structs.replace(event, model="other"))
    assert fold.state.events == {}


@pytest.mark.parametrize(
    "changes", [{"data": b"\xc1"}, {"type": "coppice.surprise.v9"}], ids=["payload", "type"]
)
def test_an_event_that_cannot_be_read_is_counted_and_passed_over(fold, changes):
    event = records.seal(traffic.prediction("r", STABLE, [1]), source="test", now=0.0)
    fold.take(msgspec.structs.replace(event, **changes))
    assert fold.state.events == {"undecodable": 1}


def test_an_answer_of_a_version_that_nobody_knows_is_counted_and_passed_over(fold):
    take(fold, traffic.prediction("r", "tiny:unknown", [1]))
    assert fold.state.events == {"unknown_version": 1}


def test_memory_stays_bounded_however_long_the_traffic_lasts(fold):
    take(fold, rollout(**STARTED))
    for number in range(3000):
        take(
            fold,
            traffic.prediction(f"r{number}", STABLE, [1], slices={"user": str(number)}),
            traffic.shadow(f"r{number}", CANDIDATE, [0]),
        )
    found = fold.state
    assert len(found.requests.waiting) == 1000
    assert len(found.current_trial().pending) == 50  # evidence.max_pending
    assert len(found.live) <= state.LIVE_KEPT
    assert len(found.slices.watched) + len(found.slices.waiting) <= 220
    for number in range(200):
        take(fold, traffic.feedback(f"r{2000 + number}", "yes"))
    assert len(found.recent[STABLE].rows) <= 100


def test_windows_of_versions_that_play_no_part_any_more_are_dropped(settings):
    kept = state.State.empty(settings)
    for number in range(20):
        kept.window(f"tiny:{number}")
        kept.window("tiny:champion")
    assert len(kept.recent) == state.VERSIONS_KEPT
    assert "tiny:champion" in kept.recent


def featured(request_id, rows, **slices):
    features = records.Tensor.of(np.zeros((rows, 3), dtype=np.float32))
    return traffic.prediction(request_id, STABLE, [1] * rows, features=features, slices=slices)


def test_the_largest_slices_get_windows_of_their_own_once_the_first_window_is_full(fold, known):
    take(fold, rollout())
    for number in range(6):
        take(fold, featured(f"a{number}", 4, pen="ink", site="x"))
    for number in range(5):
        take(fold, featured(f"b{number}", 6, pen="lead", site="y"))
    # With the last, 54 rows: the window of 50 is full. Most traffic first, then as they came.
    assert list(fold.state.reign.slices) == ["pen=ink", "site=x", "pen=lead", "site=y"]
    take(fold, featured("c", 50, pen="ink"))
    assert ("pen=ink", (50, 3)) in known.looked
    assert fold.state.reign.other_looks()["slice pen=ink"][-1].reason == "fine"


def test_no_more_slices_are_watched_apart_than_the_settings_say(settings, known):
    few = settings.model_copy(update={"drift": settings.drift.model_copy(update={"slices": 1})})
    fold = intake.Intake(state.State.empty(few), few, known)
    take(fold, rollout())
    for number in range(11):
        take(fold, featured(f"a{number}", 5, pen="ink", site="x"))
    assert list(fold.state.reign.slices) == ["pen=ink"]


def test_what_else_a_full_window_shows_is_kept(fold):
    take(fold, rollout())
    for number in range(10):
        take(fold, featured(f"a{number}", 5, pen="ink"))
    assert fold.state.reign.beside == watch.Beside(new_slices={"pen=ink": 10})


def test_labels_are_compared_window_by_window(fold, known, settings):
    size = settings.drift.label_window
    take(fold, rollout())
    for number in range(size + 5):
        take(
            fold,
            traffic.prediction(f"r{number}", STABLE, [1]),
            traffic.feedback(f"r{number}", "yes"),
        )
    assert known.looked == [("labels", (1.0,) * size)]
    assert len(fold.state.reign.targets) == 5
    assert fold.state.reign.label_drift.windows == 1


def test_a_new_reign_forgets_the_slices_and_labels_of_the_last(fold):
    take(fold, rollout())
    for number in range(11):
        take(fold, featured(f"a{number}", 5, pen="ink"))
    take(fold, rollout(champion=CANDIDATE))
    reign = fold.state.reign
    assert (reign.slices, reign.targets, reign.beside) == ({}, [], None)


@pytest.fixture
def parted(settings, known):
    """Labels as they come, and hardly any copies: of most requests only one version's answer."""
    natural = settings.model_copy(
        update={
            "evidence": settings.evidence.model_copy(update={"mode": "natural"}),
            "rollout": settings.rollout.model_copy(update={"mirror": 0.0001}),
        }
    )
    fold = intake.Intake(state.State.empty(natural), natural, known)
    take(fold, rollout(**STARTED))
    return fold


def stable(request_id, answer=1, **fields):
    return traffic.prediction(request_id, STABLE, [answer], **{"propensity": 0.9, **fields})


def canary(request_id, answer=1, **fields):
    plain = {"lane": "canary", "propensity": 0.1}
    return traffic.prediction(request_id, CANDIDATE, [answer], **{**plain, **fields})


def counted(fold):
    return tuple(fold.state.current_trial().overall.settled().counts)


HARM, GAIN, TIE, NOTHING = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)


def test_a_labelled_canary_request_is_paired_with_a_labelled_stable_one(parted):
    take(parted, stable("s"), canary("c", 0), traffic.feedback("s", "yes"))
    assert counted(parted) == NOTHING
    take(parted, traffic.feedback("c", "yes"))
    assert counted(parted) == HARM


def test_a_label_that_comes_before_the_prediction_counts_too(parted):
    take(parted, stable("s", 0), traffic.feedback("s", "yes"), traffic.feedback("c", "yes"))
    take(parted, canary("c"))
    assert counted(parted) == GAIN


@pytest.mark.parametrize(
    "fields",
    [
        {"propensity": 1.0, "lane": "stable"},  # the client forced the lane
        {"fallback": "timeout", "fallback_version": CANDIDATE},  # the candidate failed
        {"lane": "canary", "propensity": 0.1},  # no version of this lane answered
    ],
)
def test_a_request_that_was_not_drawn_for_its_lane_stands_in_no_pair(parted, fields):
    take(parted, stable("s", **fields), traffic.feedback("s", "yes"))
    take(parted, canary("c", 0), traffic.feedback("c", "yes"))
    assert counted(parted) == NOTHING


def test_a_request_that_was_mirrored_is_a_pair_by_itself(parted):
    take(parted, stable("s"), traffic.shadow("s", CANDIDATE, [0]), traffic.feedback("s", "yes"))
    take(parted, canary("c", 0), traffic.feedback("c", "yes"))
    assert counted(parted) == HARM


def test_a_copy_that_comes_after_the_label_does_not_count_the_request_twice(parted):
    take(parted, stable("s"), traffic.feedback("s", "yes"), traffic.shadow("s", CANDIDATE, [0]))
    take(parted, canary("c", 0), traffic.feedback("c", "yes"))
    assert counted(parted) == HARM


def test_a_request_of_an_earlier_trial_is_no_part_of_this_one(parted):
    take(parted, stable("s"), now=100.0)
    take(parted, rollout(**STARTED), now=200.0)
    take(parted, traffic.feedback("s", "yes"), now=201.0)
    take(parted, canary("c", 0), traffic.feedback("c", "yes"), now=202.0)
    assert counted(parted) == NOTHING


def test_where_labels_are_asked_for_requests_are_never_put_side_by_side(fold):
    take(fold, rollout(**STARTED), stable("s"), canary("c", 0))
    take(fold, traffic.feedback("s", "yes"), traffic.feedback("c", "yes"))
    assert counted(fold) == NOTHING


def test_where_every_request_is_mirrored_none_is_put_beside_another(parted):
    settings = parted._fold._settings
    whole = settings.model_copy(
        update={"rollout": settings.rollout.model_copy(update={"mirror": 1.0})}
    )
    fold = intake.Intake(parted.state, whole, parted._fold._knowledge)
    take(fold, stable("s"), canary("c", 0))
    take(fold, traffic.feedback("s", "yes"), traffic.feedback("c", "yes"))
    assert counted(fold) == NOTHING


@pytest.fixture
def timed(settings, known):
    hurried = settings.model_copy(
        update={"serve": settings.serve.model_copy(update={"latency_objective_seconds": 0.1})}
    )
    fold = intake.Intake(state.State.empty(hurried), hurried, known)
    take(fold, rollout(**STARTED))
    return fold


def test_slow_requests_of_the_canary_lane_are_counted_where_there_is_an_objective(timed):
    take(timed, canary("a", latency_seconds=0.05), canary("b", latency_seconds=0.2))
    slow = timed.state.current_trial().slow
    assert (slow.failures, slow.trials, slow.margin) == (1, 2, 0.05)


def test_neither_failed_nor_stable_nor_mirrored_answers_are_timed(timed):
    take(timed, canary("a", error="boom", outputs={}), stable("b", latency_seconds=9.0))
    take(timed, traffic.shadow("b", CANDIDATE, [1], latency_seconds=9.0))
    assert timed.state.current_trial().slow.trials == 0


def test_without_an_objective_no_answer_is_timed(fold):
    take(fold, rollout(**STARTED), canary("a", latency_seconds=9.0))
    assert fold.state.current_trial().slow is None


def mirrored(number, *, late):
    """A request on which the versions differ now and then; some labels come later, some never."""
    name, answer = f"r{number}", 0 if number % 3 == 0 else 1
    label = traffic.feedback(name, "yes" if number % 4 else "no")
    told = {0: [], 1: [label], 2: [label]}[number % 3 if not late else 0]
    return [traffic.prediction(name, STABLE, [1]), traffic.shadow(name, CANDIDATE, [answer]), *told]


EVENTS = [
    rollout(**STARTED),
    *[record for number in range(60) for record in mirrored(number, late=number > 30)],
    *[traffic.feedback(f"r{number}", "yes") for number in range(0, 60, 6)],
]
"""151 events: 60 pairs, 20 of them disagreements, half of which get their labels at the end."""


@pytest.mark.parametrize("cut", [1, 2, 60, 120, 150, 165, 172, 175])
def test_a_monitor_that_restarts_midway_finds_the_same_with_labels_still_missing(
    settings, known, cut
):
    whole = intake.Intake(state.State.empty(settings), settings, known)
    take(whole, *EVENTS)
    first = intake.Intake(state.State.empty(settings), settings, known)
    take(first, *EVENTS[:cut])
    saved = msgspec.msgpack.encode(first.state)
    second = intake.Intake(msgspec.msgpack.decode(saved, type=state.State), settings, known)
    take(second, *EVENTS[cut:])
    expected, found = whole.state.current_trial(), second.state.current_trial()
    assert len(expected.pending) == 10
    assert list(found.pending) == list(expected.pending)
    assert found.decide() == expected.decide()
    assert second.state == whole.state
