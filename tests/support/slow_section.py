"""A section of the evaluation that takes ten seconds of the clock that it finds."""

from __future__ import annotations

from coppice.testing import ManualClock
from retrain.evaluate import section

CLOCK = ManualClock()


def measure(subject: section.Subject) -> section.Section:
    """Let time pass."""
    assert subject is not None
    CLOCK.advance(10.0)
    return section.Section(name="any", title="Slow", status="measured", sentence="Ten seconds.")
