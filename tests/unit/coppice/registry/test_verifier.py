from __future__ import annotations

from pathlib import Path

import pytest

from coppice import artifact, errors
from coppice.registry import shelf
from tests.support import artifacts


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    artifacts.linear_classifier(tmp_path / "packed")
    return tmp_path / "packed"


def test_what_nobody_touched_is_verified_once(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, tag = shelf.Verifier(), artifact.tag(packed)
    verifier.check(packed, tag)
    monkeypatch.setattr(artifact, "verify", lambda *_: pytest.fail("verified again"))

    verifier.check(packed, tag)


def test_what_was_touched_is_verified_anew(packed: Path) -> None:
    verifier, tag = shelf.Verifier(), artifact.tag(packed)
    verifier.check(packed, tag)
    (packed / artifact.MODEL).write_bytes(b"rotten")

    with pytest.raises(errors.ArtifactCorrupt, match=r"model\.onnx was altered"):
        verifier.check(packed, tag)


def test_what_was_damaged_once_is_never_taken_for_whole(packed: Path) -> None:
    verifier, tag = shelf.Verifier(), artifact.tag(packed)
    (packed / artifact.MODEL).unlink()

    with pytest.raises(errors.ArtifactCorrupt):
        verifier.check(packed, tag)
    with pytest.raises(errors.ArtifactCorrupt):
        verifier.check(packed, tag)
