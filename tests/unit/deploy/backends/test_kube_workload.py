"""Reading and changing objects; the writes are tried on a server, in the tests of each backend."""

from __future__ import annotations

from typing import Any

import pytest

from coppice import errors, routing
from deploy.backends.kube import pods, workload

TABLE = routing.RoutingTable(model="tiny", champion="tiny:000000000001", generation=3)


def owner(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "annotations": annotations}, "spec": {}}


def test_the_table_that_was_written_is_the_one_that_is_read() -> None:
    assert workload.table_of(owner(**{pods.TABLE: pods.encode(TABLE)})) == TABLE


def test_a_workload_without_annotations_has_no_table_yet() -> None:
    assert workload.table_of({"metadata": {}}) is None


def test_something_else_in_its_place_is_a_problem_that_says_what_to_do() -> None:
    with pytest.raises(errors.ClusterProblem, match=r"holds no routing table.*remove it"):
        workload.table_of(owner(**{pods.TABLE: "champion"}))


def test_a_pod_template_that_says_nothing_says_the_empty_text() -> None:
    assert workload.said(owner()) == ""


def test_a_pod_template_says_what_its_change_told_it() -> None:
    change = workload.template_change(owner(), "text")
    assert workload.said(change) == "text"


def test_every_change_names_the_version_that_it_was_decided_on() -> None:
    assert workload.annotated(owner(), {"a": "b"}) == {
        "metadata": {"resourceVersion": "7", "annotations": {"a": "b"}}
    }
    assert workload.template_change(owner(), "x")["metadata"] == {"resourceVersion": "7"}
