from __future__ import annotations

import httpx
import msgspec
import pytest

from coppice import records, testing
from coppice.pages import served
from monitoring import http, status, wanted


class Shown:
    """Shows what it is given."""

    def __init__(self):
        self.seen = None
        self.reports = {}

    def status(self):
        return self.seen

    def metrics(self):
        return b"coppice_up 1.0\n"

    def report(self, name):
        return self.reports.get(name)


EMPTY = status.Status(
    model="tiny",
    at=90.0,
    champion="tiny:a",
    candidate=None,
    previous=None,
    versions=(),
    champion_verdict=None,
    candidate_verdict=None,
    evidence={},
    drift_windows=0,
    drift=None,
    wanted={},
    queue=(),
    events={},
    oddities={},
)
PROMOTE = records.Verdict(
    model="tiny",
    version="tiny:b",
    against="tiny:a",
    scope="candidate",
    kind="promote",
    reason="it does no harm",
    evidence={"promote": 3.5},
    counts={"tie": 300},
    label_coverage=1.0,
)


def entry(number):
    return wanted.WantedLabel(
        request_id=f"r{number}",
        reason="disagreement",
        version="tiny:b",
        rows=(0, 2),
        divergence=1.0,
        inclusion_probability=0.5,
        seen_at=75.0,
    )


@pytest.fixture
def shown():
    return Shown()


@pytest.fixture
def client(shown):
    pages = http.app(shown, "tiny", testing.ManualClock(now=100.0))
    with (
        served(pages, "127.0.0.1", 0, table="monitor") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as found,
    ):
        yield found


def test_the_verdict_is_that_of_the_candidate(client, shown):
    shown.seen = msgspec.structs.replace(EMPTY, candidate="tiny:b", candidate_verdict=PROMOTE)
    answer = client.get("/v1/verdict", params={"model": "tiny"})
    assert answer.status_code == 200
    assert answer.json() == {
        "verdict": "promote",
        "reason": "it does no harm",
        "model": "tiny",
        "version": "tiny:b",
        "against": "tiny:a",
        "evidence": {"promote": 3.5},
        "counts": {"tie": 300},
        "label_coverage": 1.0,
    }


@pytest.mark.parametrize(
    ("seen", "model", "reason"),
    [
        (None, "tiny", "has not finished its first look"),
        (EMPTY, "tiny", "there is no candidate"),
        (
            msgspec.structs.replace(EMPTY, candidate="tiny:b"),
            "tiny",
            "tiny:b has not been judged yet",
        ),
        (EMPTY, "other", "watches 'tiny', not 'other'"),
    ],
    ids=["starting", "no candidate", "not judged", "another model"],
)
def test_whatever_is_missing_is_undecided_and_never_an_error(client, shown, seen, model, reason):
    shown.seen = seen
    answer = client.get("/v1/verdict", params={"model": model})
    assert (answer.status_code, answer.json()["verdict"]) == (200, "undecided")
    assert reason in answer.json()["reason"]


def test_the_one_model_need_not_be_named(client, shown):
    shown.seen = EMPTY
    assert client.get("/v1/verdict").json()["model"] == "tiny"


def test_the_head_of_the_label_queue_is_told_with_its_age(client, shown):
    shown.seen = msgspec.structs.replace(EMPTY, queue=(entry(1), entry(2)))
    answer = client.get("/v1/labels/wanted", params={"model": "tiny", "limit": 1})
    assert answer.json() == {
        "model": "tiny",
        "wanted": [
            {
                "request_id": "r1",
                "reason": "disagreement",
                "version": "tiny:b",
                "rows": [0, 2],
                "divergence": 1.0,
                "inclusion_probability": 0.5,
                "age_seconds": 25.0,
            }
        ],
    }


def test_of_another_model_no_labels_are_wanted(client, shown):
    shown.seen = msgspec.structs.replace(EMPTY, queue=(entry(1),))
    assert client.get("/v1/labels/wanted", params={"model": "other"}).json()["wanted"] == []


def test_a_negative_limit_asks_for_nothing(client, shown):
    shown.seen = msgspec.structs.replace(EMPTY, queue=(entry(1),))
    assert client.get("/v1/labels/wanted", params={"limit": "-1"}).json()["wanted"] == []


def test_a_limit_that_is_no_number_is_refused_with_the_remedy(client):
    answer = client.get("/v1/labels/wanted", params={"limit": "many"})
    assert answer.status_code == 400
    assert "whole number" in answer.json()["error"]


def test_the_state_is_told_as_a_whole(client, shown):
    shown.seen = EMPTY
    answer = client.get("/v1/state").json()
    assert (answer["model"], answer["watched"]) == ("tiny", True)
    assert answer["state"]["champion"] == "tiny:a"


def test_the_state_of_another_model_is_not_known(client, shown):
    shown.seen = EMPTY
    answer = client.get("/v1/state", params={"model": "other"}).json()
    assert answer == {"model": "other", "watched": False, "state": None}


def test_health_says_when_the_last_turn_was(client, shown):
    assert client.get("/health").json() == {"alive": True, "last_turn": None}
    shown.seen = EMPTY
    assert client.get("/health").json() == {"alive": True, "last_turn": 90.0}


def test_metrics_are_plain_text(client):
    answer = client.get("/metrics")
    assert answer.text == "coppice_up 1.0\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_alarm_points_at_the_report_that_was_written_last(shown, client, tmp_path):
    page = tmp_path / "drift-b.html"
    page.write_text("<html>newest drift</html>")
    shown.reports["drift-b.html"] = page
    shown.seen = msgspec.structs.replace(EMPTY, reports=("drift-b.html", "drift-a.html"))
    assert client.get("/reports/newest").text == "<html>newest drift</html>"


def test_without_a_report_there_is_no_newest_one(shown, client):
    shown.seen = EMPTY
    assert client.get("/reports/newest").status_code == 404


def test_a_report_is_served_as_html(shown, client, tmp_path):
    page = tmp_path / "drift-a.html"
    page.write_text("<html>drift</html>")
    shown.reports["drift-a.html"] = page
    answer = client.get("/reports/drift-a.html")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == "<html>drift</html>"


@pytest.mark.parametrize("name", ["drift-b.html", "..%2Fsecret", "%2e%2e/secret", "a/b"])
def test_a_report_that_is_not_there_is_404(client, name):
    assert client.get(f"/reports/{name}").status_code == 404
