"""Facts have a wire form that says everything, in few bytes."""

from __future__ import annotations

import numpy as np
import pytest

from coppice import errors, records
from monitoring import facts, join

PAIR = join.Pair("tiny:stable", "tiny:candidate")
EVENT = records.Event("id", "coppice.rollout.v1", "test", 1.0, "tiny", "tiny", b"data")
FEATURES = records.Tensor.of(np.zeros((1, 25), dtype=np.float32))
ANSWERED = facts.Answered(
    "tiny:stable",
    "stable",
    1,
    failed=False,
    slices=("pen=ink",),
    features=FEATURES,
    latency_seconds=0.01,
    fell_back=False,
    candidate=None,
    draw=0.25,
)
MIRRORED = facts.Mirrored(
    "tiny:candidate", "tiny:stable", "candidate", 1, failed=False, agrees=(True,)
)
LABELLED = facts.Labelled("tiny:stable", ("yes", 1, 0.5))
PAIRED = join.Paired("r", PAIR, (1.0,), (0.0,), None, ("pen=ink",), fresh=True, seen_at=1.0)
SCORED = join.Scored("r", "tiny:stable", (1.0,), (0.0,), (), b"1234", 2.0, "stable")


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (ANSWERED, "coppice.prediction.v1"),
        (MIRRORED, "coppice.shadow.v1"),
        (LABELLED, "coppice.feedback.v1"),
        (facts.Told(EVENT), "coppice.rollout.v1"),
    ],
)
def test_every_fact_comes_back_as_it_was_and_knows_its_event(what, kind):
    fact = facts.Fact(
        1.5, "r", what, 1.0, (PAIRED,), (SCORED,), (join.Compared(PAIR, agrees=False),)
    )
    assert facts.decode(facts.encode([fact])) == (fact,)
    assert fact.kind() == kind


def test_a_batch_of_none_is_a_batch():
    assert facts.decode(facts.encode([])) == ()


def test_request_ids_versions_and_slices_are_not_paid_for_in_every_fact():
    told = [facts.Fact(1.0, f"request-{n}", ANSWERED, 1.0) for n in range(500)]
    # Beside the differing ids there are 100 bytes of features in each, all nought here.
    assert len(facts.encode(told)) < 40 * 500


@pytest.mark.parametrize("data", [b"", b"junk", facts.encode([])[:-2]])
def test_what_is_no_batch_is_refused(data):
    with pytest.raises(errors.UndecodableEvent, match="no facts that can be read"):
        facts.decode(data)
