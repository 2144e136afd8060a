from __future__ import annotations

import io

import msgspec
import pytest
import rich.console

from coppice import records
from coppice_cli import figures, snapshot, status_view

NOW = 1_700_000_100.0
CANARY = records.Rollout(
    model="tiny",
    stage="canary",
    champion="tiny:aaaaaaaaaaaa",
    candidate="tiny:bbbbbbbbbbbb",
    weight=0.1,
    outcome="advanced",
    reason="promote",
    since=NOW - 95.0,
)
VERDICT = records.Verdict(
    model="tiny",
    version="tiny:aaaaaaaaaaaa",
    scope="champion",
    kind="decay",
    cause="world",
    reason="81% of 300 labels [low], 95% accepted",
)
SEEN = snapshot.Snapshot(
    model="tiny",
    at=NOW,
    source="monitor",
    rollout=CANARY,
    versions=(
        snapshot.Version(
            tag="tiny:aaaaaaaaaaaa",
            part="champion",
            lane="stable 100%",
            accepted=0.95,
            live=figures.Score(0.9712, 0.95, 0.9899, 12345),
            slices={
                "pen=ink": figures.Score(0.9, 0.8, 0.95, 50),
                "pen=chalk": figures.Score(0.6, 0.4, 0.8, 10),
            },
            measures={"f1_macro": figures.Figure(0.9, 0.85, 0.95)},
            label_delay=figures.Delay(5.0, 90.0),
            parent_agreement=0.97,
            parent_agreement_fell=True,
        ),
        snapshot.Version(tag="tiny:bbbbbbbbbbbb", part="candidate", lane="canary 10%"),
    ),
    verdicts={"champion": figures.Told(NOW - 3.0, VERDICT)},
    evidence={"promote": 1.5, "rollback": -2.0},
    evidence_needed=3.0,
    drift=0.4321,
    drift_kinds={"answers": 0.4, "labels": 1.5, "slice pen=ink": 3.0},
    estimate=figures.SeenEstimate(0.8, 0.95, trusted=False),
    reports=("drift-a.html", "drift-b.html"),
    wanted={"disagreement": 4, "live-accuracy": 0},
    last_candidate=snapshot.Dated(
        NOW - 60.0,
        records.Candidate(
            model="tiny",
            version="tiny:c",
            parent="tiny:p",
            status="refused",
            reason="world",
            refusals=("gate 'score': a drop", "gate 'latency': slow"),
        ),
    ),
    last_retraining=snapshot.Dated(
        NOW - 120.0,
        records.Retraining(model="tiny", status="held", cause="world", reason="cool-down"),
    ),
    processes=(
        snapshot.Process(name="serve", phase="running", pid=1, restarts=2),
        snapshot.Process(name="monitor", phase="running", pid=2),
    ),
)
NOTHING = snapshot.Snapshot(model="tiny", at=NOW, source="log", evidence_needed=3.0)


def _lines(seen: snapshot.Snapshot) -> list[str]:
    stream = io.StringIO()
    rich.console.Console(file=stream, width=80).print(status_view.render(seen))
    return stream.getvalue().splitlines()


def _text(seen: snapshot.Snapshot) -> str:
    return " ".join(" ".join(_lines(seen)).split())


def test_everything_fits_80_columns() -> None:
    assert max(len(line) for line in _lines(SEEN)) <= 80


def test_every_version_is_one_line() -> None:
    rows = [line.split() for line in _lines(SEEN) if line.lstrip().startswith(("aaaa", "bbbb"))]
    assert rows == [
        ["aaaaaaaaaaaa", "champion", "stable", "100%", "95.0%", "97.1%", "(95.0-99.0%)", "12,345"],
        ["bbbbbbbbbbbb", "candidate", "canary", "10%", "-", "-", "-"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "answers 10% of the keys beside tiny:aaaaaaaaaaaa (canary for 1 min 35 s)",
        "champion: decay, cause world 3 s ago: 81% of 300 labels [low], 95% accepted",
        # Half of the 3.0 that decide; evidence against a rollback is no way towards one.
        "evidence, on its way to a decision: promote 50%, rollback 0%",
        "drift: 0.43 of its threshold; drifting: slice pen=ink, labels",
        "drift report: drift-a.html (the monitor serves it under /reports/)",
        "estimate without labels: 80.0% (expected 95.0%), not to be trusted while inputs drift",
        "champion's measures: f1_macro 0.9 (0.85-0.95)",
        "labels take 5 s, one in ten over 1 min 30 s",
        "dense parent agrees on 97.0%, less than at first",
        "champion's slices, worst first: pen=chalk 60.0% (10), pen=ink 90.0% (50)",
        "labels wanted: 4 for disagreement (`coppice labels wanted`)",
        "last candidate: tiny:c refused 1 min 0 s ago: gate 'score': a drop (and 1 more)",
        "last retraining: held 2 min 0 s ago, cause world: cool-down",
        "processes: serve running (restarted 2 times), monitor running",
    ],
)
def test_what_is_known_is_told(text: str) -> None:
    assert text in _text(SEEN)


def test_what_happened_while_the_figures_were_read_was_just_now() -> None:
    told = {"champion": figures.Told(NOW + 0.5, VERDICT)}
    text = _text(msgspec.structs.replace(SEEN, verdicts=told))
    assert "champion: decay, cause world just now: 81% of 300 labels" in text


def test_before_the_first_champion_one_is_told_how_to_begin() -> None:
    assert "no champion yet; `coppice prune` makes a candidate" in _text(NOTHING)


def test_what_is_not_known_is_left_out() -> None:
    text = _text(NOTHING)
    assert "drift" not in text
    assert "labels wanted" not in text
    assert "evidence" not in text
    assert "measures" not in text
    assert "estimate" not in text


def test_old_figures_are_marked_as_such() -> None:
    old = msgspec.structs.replace(SEEN, source="log")
    assert "figures are the last that it wrote" in _text(old)
    assert "figures are the last that it wrote" not in _text(SEEN)


def test_that_clients_get_no_answers_stands_before_all_figures() -> None:
    unready = msgspec.structs.replace(SEEN, unready="tiny:aaaaaaaaaaaa [corrupt]")
    lines = _lines(unready)
    # The headline takes two lines of 80 columns.
    assert lines[2] == "clients get no answers: tiny:aaaaaaaaaaaa [corrupt]"
