"""What the events of a request tell, wherever its shard is."""

from __future__ import annotations

import pytest

from coppice import artifact, errors, labels, records
from coppice.settings import Settings
from monitoring import facts, join, shard
from monitoring.knowledge import Scorings
from tests.support import traffic

STABLE, CANDIDATE = "tiny:stable", "tiny:candidate"


class Known:
    """Knows two versions."""

    def manifest(self, version):
        if version not in {STABLE, CANDIDATE}:
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


def made(folder, **sections):
    settings = Settings(root=folder, project={"name": "tiny", "task": "binary"}, **sections)
    return shard.Shard(join.Join(1000), {}, settings, Scorings(Known()))


@pytest.fixture
def some(tmp_path):
    return made(tmp_path, evidence={"live_rate": 1.0})


def take(some, record, now=100.0):
    return some.take(records.seal(record, source="test", now=now))


def test_an_answer_is_told_with_its_slices_and_the_time_of_its_event(some):
    told = take(some, traffic.prediction("r", STABLE, [1, 0], slices={"pen": "ink"}))
    assert (told.time, told.subject, told.seen_at) == (100.0, "r", 100.0)
    assert (told.what.version, told.what.rows, told.what.slices) == (STABLE, 2, ("pen=ink",))


def test_an_answer_that_failed_is_told_without_rows_and_without_a_place_in_the_sample(some):
    told = take(some, traffic.prediction("r", STABLE, [1], error="boom"))
    assert (told.what.failed, told.what.rows, told.what.draw) == (True, 0, None)


def test_the_sample_is_drawn_by_request_id_alone(some):
    told = take(some, traffic.prediction("r", STABLE, [1]))
    # The key is the settings' default; every request is in the sample where the rate is 1.
    key = Settings(project={"name": "tiny"}).serve.routing_key_secret.get_secret_value()
    assert told.what.draw == labels.unit_interval(key, "live", "r")


def test_a_repeated_answer_tells_nothing(some):
    record = traffic.prediction("r", STABLE, [1])
    assert take(some, record) is not None
    assert take(some, record) is None


def test_a_label_completes_a_pair_and_both_scores(some):
    take(some, traffic.prediction("r", STABLE, [1]))
    take(some, traffic.shadow("r", CANDIDATE, [0]))
    told = take(some, traffic.feedback("r", "yes"), now=105.0)
    assert [each.pair for each in told.paired] == [join.Pair(STABLE, CANDIDATE)]
    assert sorted(each.version for each in told.scored) == [CANDIDATE, STABLE]
    assert told.what == facts.Labelled(STABLE, ())
    assert (told.time, told.seen_at) == (105.0, 100.0)


def test_a_label_of_a_request_that_nobody_knows_is_told_as_it_came(some):
    told = take(some, traffic.feedback("elsewhere", "yes"))
    assert told.what == facts.Labelled(None, ("yes",))


def test_a_rollout_is_told_whole(some):
    step = records.Rollout(
        model="tiny", stage="idle", champion=STABLE, outcome="promoted", reason=""
    )
    event = records.seal(step, source="test", now=1.0)
    assert some.take(event).what == facts.Told(event)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (traffic.prediction("r", "tiny:gone", [1]), "unknown_version"),
        (traffic.prediction("r", STABLE, [1], outputs={}), "undecodable"),
    ],
)
def test_what_cannot_be_read_is_counted_and_tells_nothing(some, record, name):
    assert take(some, record) is None
    assert some.counts == {name: 1}


def test_what_is_about_another_model_is_not_even_counted(some):
    told = take(some, records.Feedback(request_id="r", model="other", labels=(1,), labelled_at=0))
    assert (told, some.counts) == (None, {})


def test_only_drawn_requests_that_were_not_mirrored_may_stand_beside_others(tmp_path):
    natural = made(tmp_path, evidence={"mode": "natural"}, rollout={"mirror": 1e-9})
    take(natural, traffic.prediction("drawn", STABLE, [1], propensity=0.9))
    take(natural, traffic.prediction("forced", STABLE, [1], propensity=1.0))
    apart = [natural.requests.waiting[name].apart for name in ("drawn", "forced")]
    assert apart == ["stable", None]
