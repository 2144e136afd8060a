from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

from coppice import records
from coppice_cli.demo import follow, pictures, traffic

ANSWERS = [
    traffic.Answered(
        at=100.0 + second, version="digits:aaaaaaaa", lane="stable", right=True, medium="paper"
    )
    for second in range(30)
]
DECAY = records.Verdict(
    model="digits",
    version="digits:aaaaaaaa",
    scope="champion",
    kind="decay",
    cause="world",
    reason="it fell",
)
PROMOTED = records.Rollout(
    model="digits", stage="watch", champion="digits:b", outcome="promoted", reason="evidence"
)


def texts(svg: str) -> str:
    return "".join(ET.fromstring(svg).itertext())


def elements(svg: str) -> int:
    return len(list(ET.fromstring(svg).iter()))


def test_accuracy_is_drawn_with_a_mark_for_each_decision() -> None:
    facts = [follow.Fact(at=110.0, record=DECAY), follow.Fact(at=120.0, record=PROMOTED)]
    plain = pictures.accuracy(ANSWERS, [], start=100.0)
    marked = pictures.accuracy(ANSWERS, facts, start=100.0)
    assert elements(marked) > elements(plain)


def test_an_undecided_cause_is_not_marked() -> None:
    undecided = records.Verdict(
        model="digits",
        version="digits:a",
        scope="champion",
        kind="decay",
        cause="undecided",
        reason="too few labels",
    )
    plain = pictures.accuracy(ANSWERS, [], start=100.0)
    same = pictures.accuracy(ANSWERS, [follow.Fact(at=110.0, record=undecided)], start=100.0)
    assert elements(same) == elements(plain)


def test_the_lanes_are_drawn_for_every_version_that_answered() -> None:
    other = traffic.Answered(
        at=105.0, version="digits:bbbbbbbb", lane="canary", right=False, medium="paper"
    )
    one = pictures.lanes(ANSWERS, start=100.0)
    two = pictures.lanes([*ANSWERS, other], start=100.0)
    assert elements(two) > elements(one)


def decision(version: str, kind: records.VerdictKind) -> follow.Fact:
    verdict = records.Verdict(
        model="digits",
        version=version,
        scope="candidate",
        kind=kind,
        reason="so",
        evidence={"promote": 3.5, "rollback": -2.0},
    )
    return follow.Fact(at=110.0, record=verdict)


def test_evidence_is_drawn_for_each_candidate_that_was_decided() -> None:
    one = pictures.evidence([decision("digits:a", "promote")])
    two = pictures.evidence([decision("digits:a", "promote"), decision("digits:b", "rollback")])
    assert elements(two) > elements(one)


def test_an_undecided_candidate_has_no_evidence_to_draw_yet() -> None:
    one = pictures.evidence([decision("digits:a", "promote")])
    same = pictures.evidence([decision("digits:a", "promote"), decision("digits:b", "undecided")])
    assert elements(same) == elements(one)


def test_scans_are_drawn_in_the_three_worlds() -> None:
    svg = pictures.scans(np.zeros((10, 1, 8, 8), dtype=np.float32))
    images = [element for element in ET.fromstring(svg).iter() if "image" in element.tag]
    # ten digits in each of three worlds
    assert len(images) == 30
