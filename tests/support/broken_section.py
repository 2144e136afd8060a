"""A section of the evaluation that raises."""

from __future__ import annotations

from retrain.evaluate import section


def measure(subject: section.Subject) -> section.Section:
    """Fail like a bug does."""
    message = f"no gradient for {type(subject).__name__}"
    raise ZeroDivisionError(message)
