from __future__ import annotations

import pytest

from coppice import errors
from coppice.routing import RoutingTable
from deploy.backends.kube import pods
from deploy.backends.kube.pods import Templates

NONE = Templates("", "")
ALONE = RoutingTable(generation=1, model="m", champion="m:a", parent="m:p", parent_mirror=0.05)
TRIAL = RoutingTable(
    generation=2, model="m", champion="m:a", candidate="m:b", weight=0.0, mirror=1.0
)
WIDER = RoutingTable(
    generation=3, model="m", champion="m:a", candidate="m:b", weight=0.1, mirror=1.0
)
PROMOTED = RoutingTable(generation=4, model="m", champion="m:b", previous="m:a")
DROPPED = RoutingTable(generation=4, model="m", champion="m:a")
NEXT = RoutingTable(generation=6, model="m", champion="m:b", candidate="m:c", mirror=1.0)


def test_the_first_template_names_the_champion() -> None:
    made = pods.templates(ALONE, NONE)

    assert pods.answering(made.now) == "m:a"
    assert made.stable == made.now


def test_a_candidate_makes_a_template_whose_pods_answer_with_it_and_mirror() -> None:
    before = pods.templates(ALONE, NONE)
    made = pods.templates(TRIAL, before)

    told = pods.decode(made.now)
    assert (told.champion, told.candidate) == ("m:a", "m:b")
    # The tool splits the traffic between pods: inside one there is nothing to split.
    assert (told.weight, told.mirror) == (1.0, 1.0)
    assert made.stable == before.now


def test_a_wider_canary_makes_no_new_pods() -> None:
    before = pods.templates(TRIAL, pods.templates(ALONE, NONE))

    assert pods.templates(WIDER, before) == before


def test_a_promotion_makes_no_new_pods() -> None:
    before = pods.templates(TRIAL, pods.templates(ALONE, NONE))

    assert pods.templates(PROMOTED, before) == before


def test_after_an_abort_the_template_says_what_it_said_to_the_letter() -> None:
    first = pods.templates(ALONE, NONE)
    trial = pods.templates(TRIAL, first)

    assert pods.templates(DROPPED, trial) == Templates(first.now, first.now)


def test_a_champion_that_returns_after_its_successor_was_promoted_is_known_again() -> None:
    first = pods.templates(ALONE, NONE)
    promoted = pods.templates(PROMOTED, pods.templates(TRIAL, first))

    assert pods.templates(DROPPED, promoted).now == first.now


def test_the_next_candidate_is_compared_with_the_one_that_was_promoted() -> None:
    promoted = pods.templates(PROMOTED, pods.templates(TRIAL, pods.templates(ALONE, NONE)))
    made = pods.templates(NEXT, promoted)

    assert pods.answering(made.now) == "m:c"
    assert pods.decode(made.now).champion == "m:b"
    assert pods.answering(made.stable) == "m:b"


def test_a_template_that_somebody_else_wrote_is_replaced() -> None:
    made = pods.templates(ALONE, Templates("not a table", ""))

    assert pods.answering(made.now) == "m:a"


def test_a_pod_of_the_champion_knows_nothing_of_the_trial() -> None:
    told = pods.live(WIDER, "m:a")

    assert told is not None
    assert (told.champion, told.candidate, told.weight, told.mirror) == ("m:a", None, 0.0, 0.0)


def test_a_pod_of_the_candidate_answers_every_request_with_it() -> None:
    told = pods.live(WIDER, "m:b")

    assert told is not None
    assert (told.candidate, told.weight) == ("m:b", 1.0)


def test_a_pod_whose_version_was_promoted_stops_mirroring() -> None:
    told = pods.live(PROMOTED, "m:b")

    assert told is not None
    assert (told.champion, told.candidate, told.previous) == ("m:b", None, "m:a")


def test_a_pod_of_a_version_that_left_is_told_nothing() -> None:
    assert pods.live(PROMOTED, "m:a") is None


def test_a_table_survives_the_annotation() -> None:
    assert pods.decode(pods.encode(WIDER)) == WIDER


@pytest.mark.parametrize("text", ["", "{}", '{"model":"m","champion":"m:a","weight":2}'])
def test_an_annotation_that_is_no_table_is_named(text: str) -> None:
    with pytest.raises(errors.ClusterProblem, match="holds no routing table"):
        pods.decode(text)
