"""The verdict on a candidate, as a rollout asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from coppice import records, verdicts
from coppice.testing import MemoryLog


def verdict(kind: str, **fields: Any) -> records.Verdict:
    whole = {"model": "tiny", "version": "tiny:2", "scope": "candidate", "reason": kind, **fields}
    return records.Verdict(kind=kind, **whole)  # type: ignore[arg-type]


def log_of(*found: records.Verdict) -> MemoryLog:
    log = MemoryLog()
    log.append([records.seal(record, source="test", now=1.0) for record in found])
    return log


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("promote", "promote"), ("rollback", "rollback"), ("undecided", "undecided")],
)
def test_the_latest_verdict_decides(kind: str, expected: str) -> None:
    found = verdicts.read(log_of(verdict("undecided"), verdict(kind)), "tiny:2")
    assert found["verdict"] == expected


def test_the_evidence_comes_with_the_verdict() -> None:
    judged = verdict("promote", evidence={"promote": 3.2}, counts={"pairs": 9}, label_coverage=0.5)
    assert verdicts.read(log_of(judged), "tiny:2") == {
        "verdict": "promote",
        "reason": "promote",
        "evidence": {"promote": 3.2},
        "counts": {"pairs": 9},
        "label_coverage": 0.5,
        "version": "tiny:2",
    }


def test_a_rollback_for_one_slice_is_a_rollback() -> None:
    found = verdicts.conclude([verdict("rollback", slice="pen=ink"), verdict("promote")], "tiny:2")
    assert found["verdict"] == "rollback"


def test_a_promotion_for_one_slice_promotes_nothing() -> None:
    assert verdicts.conclude([verdict("promote", slice="a=b")], "tiny:2")["verdict"] == "undecided"


def test_a_slice_that_recovered_holds_nothing_up() -> None:
    recovered = [verdict("rollback", slice="a=b"), verdict("undecided", slice="a=b")]
    found = verdicts.conclude([*recovered, verdict("promote")], "tiny:2")
    assert found["verdict"] == "promote"


@pytest.mark.parametrize(
    "other", [verdict("promote", version="tiny:1"), verdict("promote", scope="champion")]
)
def test_verdicts_on_others_decide_nothing(other: records.Verdict) -> None:
    assert verdicts.conclude([other], "tiny:2")["verdict"] == "undecided"


@pytest.mark.parametrize("kind", ["healthy", "drift", "decay"])
def test_a_verdict_that_is_none_of_a_candidates_decides_nothing(kind: str) -> None:
    assert verdicts.conclude([verdict(kind)], "tiny:2")["verdict"] == "undecided"


def test_no_candidate_is_undecided() -> None:
    found = verdicts.read(MemoryLog(), None)
    assert (found["verdict"], found["reason"]) == ("undecided", "there is no candidate")


def test_no_verdict_is_undecided() -> None:
    found = verdicts.read(MemoryLog(), "tiny:2")
    assert found["verdict"] == "undecided"
    assert "not judged tiny:2 yet" in found["reason"]


def test_a_log_that_cannot_be_read_is_undecided() -> None:
    log = MemoryLog()
    log.close()
    assert verdicts.read(log, "tiny:2")["verdict"] == "undecided"
