from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coppice import records
from coppice.testing import MemoryLog
from coppice_cli import figures
from monitoring import columns, drift, estimate, quality, status
from tests.support import command_line, pages

HEALTHY = records.Verdict(
    model="tiny", version="tiny:a", scope="champion", kind="healthy", reason="fine"
)
UNDECIDED = records.Verdict(
    model="tiny", version="tiny:b", scope="candidate", kind="undecided", reason="too few"
)


def _measured(version: str, name: str, value: float, **more: Any) -> records.Measurement:
    return records.Measurement(model="tiny", version=version, name=name, value=value, **more)


def _log(*found: records.Record) -> MemoryLog:
    log = MemoryLog()
    log.append([records.seal(record, source="test", now=7.0) for record in found])
    return log


def _status() -> status.Status:
    return status.Status(
        model="tiny",
        at=100.0,
        champion="tiny:a",
        candidate="tiny:b",
        previous=None,
        versions=(
            status.VersionStatus(
                version="tiny:a",
                role="champion",
                accuracy={
                    "all": status.Score(0.9, 0.8, 0.95, 50),
                    "pen=ink": status.Score(0.7, 0.5, 0.9, 10),
                },
                answered=100,
                labelled=50,
                label_coverage=0.5,
                parent_agreement=0.97,
                parent_agreement_rows=30,
            ),
        ),
        champion_verdict=HEALTHY,
        candidate_verdict=UNDECIDED,
        evidence={"promote": 1.5, "decay": 0.25},
        drift_windows=3,
        drift=drift.DriftLook(
            rows=400,
            scores={"x": 0.4, "y": 0.1},
            ratios={"x": 0.2, "y": 0.6},
            unscored={},
            alarmed=False,
            reason="no feature drifts",
        ),
        wanted={"disagreement": 4, "live-accuracy": 1},
        queue=(),
        events={},
        oddities={},
    )


def _asked(tmp_path: Path, answer: Any) -> figures.Live | None:
    with pages.serving({"/v1/state": (200, answer)}) as server:
        tree = command_line.project(tmp_path, "[monitor]", f"port = {server.port}")
        return figures.from_monitor(tree)


def test_the_running_monitors_own_state_is_understood(tmp_path: Path) -> None:
    state = msgspec.json.decode(msgspec.json.encode(_status()))
    live = _asked(tmp_path, {"model": "tiny", "watched": True, "state": state})
    assert live == figures.Live(
        source="monitor",
        scores={
            "tiny:a": {
                "all": figures.Score(0.9, 0.8, 0.95, 50),
                "pen=ink": figures.Score(0.7, 0.5, 0.9, 10),
            }
        },
        agreement={"tiny:a": 0.97},
        evidence={"promote": 1.5, "decay": 0.25},
        drift=0.6,
        wanted={"disagreement": 4, "live-accuracy": 1},
        verdicts={
            "champion": figures.Told(100.0, HEALTHY),
            "candidate": figures.Told(100.0, UNDECIDED),
        },
    )


def test_what_the_monitor_shows_of_windows_and_quality_is_understood(tmp_path: Path) -> None:
    seen = _status()
    assert seen.drift is not None
    measured = quality.Quality(50, {"f1_macro": quality.Figure(0.9, 0.8, 1.0)})
    told = msgspec.structs.replace(
        seen,
        versions=(
            msgspec.structs.replace(
                seen.versions[0],
                measures={"all": measured},
                label_delay=quality.Delay(5.0, 60.0),
                parent_agreement_fell=True,
            ),
        ),
        drift_kinds=columns.by_kind(seen.drift),
        label_drift=drift.DriftLook(200, {}, {"label.1": 1.5}, {}, alarmed=True, reason=""),
        slice_drift={"pen=ink": drift.DriftLook(0, {}, {}, {}, alarmed=None, reason="empty")},
        estimate=estimate.Estimate(mean=0.8, low=0.7, high=0.9, expected=0.95, rows=50),
        reports=("drift-a.html",),
    )
    state = msgspec.json.decode(msgspec.json.encode(told))
    live = _asked(tmp_path, {"model": "tiny", "watched": True, "state": state})
    assert live is not None
    # The columns x and y are neither inputs nor embedding; a slice without a ratio is left out.
    assert live.drift_kinds == {"answers": 0.6, "labels": 1.5}
    assert live.estimate == figures.SeenEstimate(0.8, 0.95, trusted=False)
    assert live.reports == ("drift-a.html",)
    assert live.measures == {"tiny:a": {"f1_macro": figures.Figure(0.9, 0.8, 1.0)}}
    assert live.delays == {"tiny:a": figures.Delay(5.0, 60.0)}
    assert live.agreement_fell == ("tiny:a",)


def test_a_monitor_that_has_not_looked_yet_tells_nothing(tmp_path: Path) -> None:
    assert _asked(tmp_path, {"model": "tiny", "watched": True, "state": None}) is None


def test_a_monitor_that_does_not_answer_tells_nothing(tmp_path: Path) -> None:
    tree = command_line.project(tmp_path, "[monitor]", f"port = {pages.free_port()}")
    assert figures.from_monitor(tree) is None


def test_the_newest_measurements_count() -> None:
    log = _log(
        _measured("tiny:a", "accuracy", 0.5, low=0.4, high=0.6, count=10),
        _measured("tiny:a", "accuracy", 0.9, low=0.8, high=0.95, count=50),
        _measured("tiny:a", "accuracy", 0.7, low=0.5, high=0.9, count=10, slice="pen=ink"),
        _measured("tiny:a", "drift.ratio", 0.6),
        _measured("tiny:a", "parent_agreement", 0.97),
    )
    live = figures.from_log(log, champion="tiny:a", candidate=None)
    assert live.scores == {
        "tiny:a": {
            "all": figures.Score(0.9, 0.8, 0.95, 50),
            "pen=ink": figures.Score(0.7, 0.5, 0.9, 10),
        }
    }
    assert (live.drift, live.agreement, live.source) == (0.6, {"tiny:a": 0.97}, "log")


def test_evidence_from_the_champions_own_rollout_is_over() -> None:
    log = _log(
        _measured("tiny:a", "evidence.promote", 3.2),
        _measured("tiny:a", "evidence.decay", 0.25),
        _measured("tiny:b", "evidence.rollback", -1.0),
    )
    live = figures.from_log(log, champion="tiny:a", candidate="tiny:b")
    assert live.evidence == {"decay": 0.25, "rollback": -1.0}


def test_verdicts_are_the_newest_of_their_scope() -> None:
    as_candidate = msgspec.structs.replace(HEALTHY, scope="candidate", kind="promote")
    log = _log(as_candidate, HEALTHY, UNDECIDED)
    live = figures.from_log(log, champion="tiny:a", candidate="tiny:b")
    assert live.verdicts == {
        "champion": figures.Told(7.0, HEALTHY),
        "candidate": figures.Told(7.0, UNDECIDED),
    }


@pytest.mark.parametrize("champion", [None, "tiny:a"])
def test_an_empty_log_tells_nothing(champion: str | None) -> None:
    live = figures.from_log(MemoryLog(), champion=champion, candidate=None)
    assert (live.evidence, live.verdicts, live.drift) == ({}, {}, None)
