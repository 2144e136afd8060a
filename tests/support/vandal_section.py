"""A section of the evaluation that spoils the models that it is given."""

from __future__ import annotations

from retrain.evaluate import section


def measure(subject: section.Subject) -> section.Section:
    """Set every weight to nought and count the models."""
    for model in subject.models.values():
        for weight in model.parameters():
            weight.data.zero_()
    broken = section.Figure(value=float(len(subject.models)))
    return section.Section(
        name="cost",
        title="Vandalism",
        status="measured",
        sentence="Every weight is nought.",
        figures={"broken": broken},
    )
