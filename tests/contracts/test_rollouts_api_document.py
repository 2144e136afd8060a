"""What docs/rollouts-api.md shows is what the doors do: each line is run by curl itself."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from coppice import pages, records, settings
from coppice.testing import ManualClock, MemoryLog
from deploy import facts, gate, http
from deploy.recorder import Recorder
from tests.support import house, readme, rollouts

DOCUMENT = "docs/rollouts-api.md"
TEXT = (house.ROOT / DOCUMENT).read_text(encoding="utf-8")
LINES = [line for line in readme.console_lines(DOCUMENT) if line.startswith("curl ")]
MODEL, CANDIDATE = "digits", "digits:b5bb9d8014a0"
SETTINGS = {
    "project": {"name": MODEL},
    "rollout": {"host": "0.0.0.0", "token_file": "token", "alerts": "pause"},
}
NO_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@dataclasses.dataclass
class Seen:
    """Shows one view."""

    seen: gate.View

    def view(self, max_age: float) -> gate.View | None:
        del max_age
        return self.seen


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The doors of a controller whose candidate has a tenth of the traffic."""
    (tmp_path / "token").write_text("s3cret")
    state = msgspec.structs.replace(rollouts.canary(), model=MODEL, candidate=CANDIDATE)
    log, history = MemoryLog(), facts.History(MODEL)
    log.append([rollouts.event(state)])
    history.add(rollouts.event(state))
    routed = rollouts.table(2, model=MODEL, candidate=CANDIDATE)
    source = Seen(gate.View.of(history, routed, auto=True))
    tree = settings.from_tree(SETTINGS, root=tmp_path)
    doors = http.Doors(source, log, tree, ManualClock(), Recorder(MODEL))
    with pages.served(http.app(doors), "127.0.0.1", 0, table="rollout") as port:
        yield port


def ask(line: str, port: int) -> int:
    """Run a shown line against a port, and return the status that came back."""
    command = line.replace("localhost:3002", f"127.0.0.1:{port}").replace("$TOKEN", "s3cret")
    words = shlex.split(command, comments=True)
    options = ["--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}"]
    ran = subprocess.run([*words, *options], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@NO_CURL
@pytest.mark.parametrize("line", LINES)
def test_a_shown_question_gets_the_shown_answer(line: str, port: int) -> None:
    assert ask(line, port) == int(line.rsplit("# ", 1)[1])


def test_every_door_and_every_action_is_shown() -> None:
    shown = "\n".join(LINES)
    doors = ["/v1/verdict", f"/v1/rollouts/{MODEL}", "/alertmanager", "/readyz", "/healthz"]
    actions = [f"/{action}" for action in get_args(records.Action)]
    assert [part for part in [*doors, *actions, "/metrics"] if part not in shown] == []


def test_every_hook_has_its_row_and_its_webhook() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|.*\|.*\|$", TEXT, flags=re.MULTILINE))
    hooks = set(get_args(gate.Hook))
    assert hooks <= rows
    (webhooks,) = [block["webhooks"] for block in blocks() if "webhooks" in block]
    assert {hook["type"] for hook in webhooks} == hooks
    assert [hook for hook in webhooks if not hook["url"].endswith("/" + hook["type"])] == []


def test_argo_is_told_where_the_answer_lies() -> None:
    (metrics,) = [block["metrics"] for block in blocks() if "metrics" in block]
    (metric,) = metrics
    assert metric["provider"]["web"]["jsonPath"] == "{$.data}"
    # Without it, what is undecided to the end would be promoted.
    assert metric["consecutiveSuccessLimit"] == 1
    conditions = {metric["successCondition"], metric["failureCondition"]}
    assert conditions == {'result.verdict == "promote"', 'result.verdict == "rollback"'}


def test_the_shown_settings_are_settings(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / settings.FILE).write_text(f'[project]\nname = "digits"\n{shown}')
    assert settings.load(tmp_path).rollout.alerts == "pause"


def blocks() -> list[dict[str, Any]]:
    """Return what the YAML blocks of the document say."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
