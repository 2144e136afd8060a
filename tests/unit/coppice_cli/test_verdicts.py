from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from coppice_cli import verdicts
from retrain import gates
from tests.support import cards

TAG = "tiny:abc"
REFUSED = gates.GateResult(
    name="slice a,b",
    passed=False,
    figure=0.1,
    threshold=0.05,
    sentence="gate 'slice a,b': 100% <lost>\nsecond line",
    nearest="amount 0.3 passed",
)
SKIPPED = gates.GateResult(
    name="privacy",
    passed=False,
    judged=False,
    figure=None,
    threshold=0.05,
    sentence="gate 'privacy': was not judged",
)
PASSED = gates.GateResult(
    name="score", passed=True, figure=0.0, threshold=0.01, sentence="gate 'score': fine"
)
ALL = (REFUSED, SKIPPED, PASSED)


def test_json_holds_every_gate_and_the_verdict() -> None:
    found = json.loads(json.dumps(verdicts.tree(TAG, ALL)))
    assert (found["passed"], found["refused"]) == (False, ["slice a,b"])
    assert found["not_judged"] == ["privacy"]
    assert found["gates"][1]["figure"] is None


def test_what_was_not_judged_does_not_fail_a_pipeline_but_is_named() -> None:
    found = verdicts.tree(TAG, (SKIPPED, PASSED))
    assert found["passed"]
    assert found["not_judged"] == ["privacy"]


def test_junit_counts_failures_and_skipped_ones() -> None:
    top = ET.fromstring(verdicts.junit(TAG, ALL))
    (suite,) = top
    assert (top.tag, suite.tag, suite.get("name")) == (
        "testsuites",
        "testsuite",
        "coppice gate tiny:abc",
    )
    counts = {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")}
    assert counts == {"tests": "3", "failures": "1", "skipped": "1", "errors": "0"}


def test_junit_has_a_case_for_each_gate_with_its_sentence() -> None:
    (suite,) = ET.fromstring(verdicts.junit(TAG, ALL))
    failed, skipped, passed = suite
    assert [case.get("name") for case in suite] == ["slice a,b", "privacy", "score"]
    (failure,) = failed
    assert (failure.tag, failure.text) == ("failure", "amount 0.3 passed")
    assert str(failure.get("message")).startswith("gate 'slice a,b': 100% <lost>")
    assert [inner.tag for inner in skipped] == ["skipped"]
    assert list(passed) == []


def test_github_gets_an_error_and_a_warning_each_on_one_line() -> None:
    lines = verdicts.github(TAG, ALL).splitlines()
    assert lines == [
        (
            "::error title=tiny%3Aabc slice a%2Cb::gate 'slice a,b': 100%25 <lost>%0Asecond line; "
            "amount 0.3 passed"
        ),
        "::warning title=tiny%3Aabc privacy::gate 'privacy': was not judged",
    ]


def test_github_hears_of_a_pass_too() -> None:
    assert verdicts.github(TAG, (PASSED,)) == (
        "::notice title=tiny%3Aabc::no gate refuses this version\n"
    )


def test_a_real_card_goes_through_every_format() -> None:
    results = cards.harmful().gates
    assert verdicts.tree(TAG, results)["refused"] == ["score", "slice pen=ink"]
    assert ET.fromstring(verdicts.junit(TAG, results)).get("failures") == "2"
    assert verdicts.github(TAG, results).count("::error") == 2
