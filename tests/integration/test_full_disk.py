"""What clients see when the disk is really full: a file system in memory with not a byte left.

It is mounted in a namespace of its own, which not every system allows; skipped, with the reason,
where it is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import house

OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
PROGRAM = house.ROOT / "tests" / "support" / "full_disk.py"


def outcome(folder: Path, policy: str) -> dict[str, Any]:
    """Serve until the disk is full under a policy, and tell what came of it."""
    try:
        subprocess.run([*OWN_MOUNTS, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as cause:
        pytest.skip(f"no disk can be filled here, so nothing was seen of a full one: {cause}")
    done = subprocess.run(
        [*OWN_MOUNTS, sys.executable, str(PROGRAM), str(folder), policy],
        cwd=house.ROOT,
        env={"PYTHONPATH": str(house.ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_full_disk_costs_inputs_first_then_refuses_and_recovers(tmp_path: Path) -> None:
    found = outcome(tmp_path, "refuse")

    assert found["inputs_dropped"] > 0
    assert set(found["statuses"]) == {"200", "507"}
    assert found["feedback"]["status"] == 507
    assert "nothing was stored; free space and try again" in found["feedback"]["error"]
    # With room again, the refused label and the next prediction are taken.
    assert found["freed"] == [200, 200]
    assert not found["label_lost"]
    assert found["unstored"] == 0
    assert found["findings"] == []


def test_by_policy_predictions_are_answered_by_a_full_disk_and_feedback_is_not(
    tmp_path: Path,
) -> None:
    found = outcome(tmp_path, "answer")

    assert found["statuses"] == {"200": 300}
    assert found["then"] == 200
    assert found["feedback"]["status"] == 507
    # What was answered and not stored is exactly what was counted.
    assert found["predictions_unstored"] == found["unstored"] > 0
    assert found["freed"] == [200, 200]
    assert not found["label_lost"]
    assert found["findings"] == []
