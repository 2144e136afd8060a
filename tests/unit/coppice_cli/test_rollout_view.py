from __future__ import annotations

import msgspec
import pytest

from coppice import records
from coppice_cli import console, rollout_view

SHADOW = records.Rollout(
    model="tiny",
    stage="shadow",
    champion="tiny:a",
    candidate="tiny:b",
    outcome="started",
    reason="candidate made because of: world",
    since=1_700_000_000.0,
)
CANARY = msgspec.structs.replace(SHADOW, stage="canary", weight=0.1, outcome="advanced")
WATCH = msgspec.structs.replace(
    SHADOW, stage="watch", champion="tiny:b", candidate=None, previous="tiny:a", outcome="promoted"
)
STEPS = [(1_700_000_000.0, SHADOW), (1_700_000_060.0, CANARY)]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (SHADOW, "tiny:b is compared in shadow with tiny:a"),
        (
            msgspec.structs.replace(SHADOW, paused=True),
            "tiny:b is compared in shadow with tiny:a, paused",
        ),
        (CANARY, "tiny:b answers 10% of the keys beside tiny:a"),
        (WATCH, "tiny:b is champion, watched; tiny:a is kept ready"),
        (msgspec.structs.replace(WATCH, stage="idle"), "tiny:b is champion; no rollout is running"),
    ],
)
def test_every_stage_has_its_sentence(state: records.Rollout, text: str) -> None:
    assert rollout_view.sentence(state) == text


def test_the_state_and_its_steps_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rollout_view.show(console.out(), STEPS, limit=5, now=1_700_000_090.0)
    shown = capsys.readouterr().out
    assert "tiny:b answers 10% of the keys beside tiny:a" in shown
    assert "1 min 30 s" in shown
    assert "advanced 10%" in shown
    assert "candidate made because of: world" in " ".join(shown.split())


def test_only_the_latest_steps_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rollout_view.show(console.out(), STEPS, limit=1, now=1_700_000_090.0)
    assert "started" not in capsys.readouterr().out


def test_before_the_first_rollout_one_is_told_how_to_begin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rollout_view.show(console.out(), [], limit=5, now=0.0)
    assert "coppice prune" in capsys.readouterr().out


def test_json_holds_the_state_and_the_latest_steps() -> None:
    tree = rollout_view.as_json(STEPS, 1)
    assert tree["state"]["stage"] == "canary"
    assert [step["time"] for step in tree["steps"]] == ["2023-11-14T22:14:20.000Z"]


def test_json_before_the_first_rollout_is_empty() -> None:
    assert rollout_view.as_json([], 5) == {"state": None, "steps": []}
