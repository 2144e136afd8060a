"""Sections of the evaluation to try the machinery with: they work, they fail, they are late."""

from __future__ import annotations

from retrain.evaluate import section

CHEERFUL = section.Section(
    name="cheerful",
    title="Cheer",
    status="measured",
    sentence="The candidate cheers as much as its parent.",
    figures={"cheer": section.Figure(value=0.75, low=0.5, high=1.0, unit="share")},
    seconds=99.0,
)


def measure(subject: section.Subject) -> section.Section:
    """Measure nothing, and say so cheerfully."""
    assert subject is not None
    return CHEERFUL
