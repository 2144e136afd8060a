"""How the answers of each version are read."""

from __future__ import annotations

import pytest

from coppice import artifact, errors
from monitoring import answers, knowledge


class Manifests:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def manifest(self, version):
        self.asked.append(version)
        if version == "tiny:gone":
            message = "there is no tiny:gone"
            raise errors.UnknownVersion(message)
        return artifact.Manifest(
            name="tiny",
            task="binary",
            classes=("no", "yes"),
            inputs=(artifact.TensorSpec("x", "float32", (4,)),),
            accepted=0.9,
            accepted_rows=1000,
            created_at=0.0,
        )


def test_the_rules_of_a_version_are_made_once():
    manifests = Manifests()
    scorings = knowledge.Scorings(manifests)
    first = scorings.of("tiny:a")
    assert scorings.of("tiny:a") is first
    assert manifests.asked == ["tiny:a"]
    assert first == answers.Scoring.of(manifests.manifest("tiny:a"))


def test_a_version_that_is_not_there_is_asked_for_again_because_it_may_come():
    manifests = Manifests()
    scorings = knowledge.Scorings(manifests)
    with pytest.raises(errors.UnknownVersion):
        scorings.of("tiny:gone")
    with pytest.raises(errors.UnknownVersion):
        scorings.of("tiny:gone")
    assert manifests.asked == ["tiny:gone", "tiny:gone"]
