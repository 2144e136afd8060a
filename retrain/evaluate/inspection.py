"""Every deeper measurement of a candidate, one section after the other.

Called by the candidate's flow when its scores are known. Takes a subject; gives one section for
each that exists, in one order: measured, not measured with the reason, or switched off. What goes
wrong in one section never loses the others, and never the candidate.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec
import structlog

from coppice import clock, sections, settings
from retrain.evaluate import section

SECTIONS: dict[sections.SectionName, str] = {
    "metrics": "retrain.evaluate.offline",
    "slices": "retrain.evaluate.found_slices",
    "fairness": "retrain.evaluate.fairness",
    "exemplars": "retrain.evaluate.exemplars",
    "ablation": "retrain.evaluate.ablation",
    "attribution": "retrain.evaluate.attribution",
    "robustness": "retrain.evaluate.robustness",
    "privacy": "retrain.evaluate.privacy",
    "data": "retrain.evaluate.data",
    "labels": "retrain.evaluate.labels",
    "provenance": "retrain.evaluate.provenance",
    "poisoning": "retrain.evaluate.poisoning",
    "cost": "retrain.evaluate.cost",
}
"""Module of each section, with a function `measure`; imported when its turn comes."""
Sections: TypeAlias = dict[str, section.Section]
Progress: TypeAlias = Callable[[float], None]
"""Told the share of the sections that is done; may raise to stop."""

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """How to measure: what is wanted, the time there is for it, and where each section lives.

    Attributes
    ----------
    rules
        The table `[inspect]`.
    timer
        Measures the sections and the budget.
    modules
        Module by section.
    """

    rules: settings.InspectSettings
    timer: clock.Clock
    modules: Mapping[sections.SectionName, str] = dataclasses.field(
        default_factory=lambda: dict(SECTIONS)
    )

    def wanted(self) -> tuple[sections.SectionName, ...]:
        """Return the sections to measure, in the order in which they are made."""
        asked = set(self.rules.sections) - set(self.rules.skip)
        return tuple(name for name in self.modules if name in asked)

    def run(self, subject: section.Subject, progress: Progress) -> Sections:
        """Measure what is wanted, and say of the rest that it was not.

        Parameters
        ----------
        progress
            Told after each section. What it raises goes through: it is how a flow is stopped.
        """
        wanted, start = self.wanted(), self.timer.monotonic()
        found: Sections = {}
        for name in self.modules:
            if name not in wanted:
                found[name] = _off(name)
                continue
            spent = self.timer.monotonic() - start
            found[name] = self._one(name, subject) if self._may_begin(spent) else self._late(name)
            progress(sum(each in found for each in wanted) / len(wanted))
        return found

    def _may_begin(self, spent: float) -> bool:
        return spent < self.rules.budget_seconds

    def _late(self, name: sections.SectionName) -> section.Section:
        allowed = self.rules.budget_seconds
        return missing(
            name,
            f"the {allowed:g} s of [inspect] budget_seconds were spent before its turn came; raise "
            f"them, or skip other sections",
        )

    def _one(self, name: sections.SectionName, subject: section.Subject) -> section.Section:
        start = self.timer.monotonic()
        try:
            measure: section.Measure = importlib.import_module(self.modules[name]).measure
            found = measure(subject)
        except ModuleNotFoundError as cause:
            found = missing(name, f"the module {cause.name} is not installed here")
        except Exception as cause:  # noqa: BLE001 - one section's bug must not lose the candidate
            _log.exception("section_failed", section=name, error=str(cause))
            found = missing(name, f"it failed with {type(cause).__name__}: {cause}")
        seconds = self.timer.monotonic() - start
        return msgspec.structs.replace(found, name=name, seconds=round(seconds, 3))


def missing(name: str, reason: str) -> section.Section:
    """Return a section that says why there is nothing in it.

    >>> missing("privacy", "it was late").sentence
    'Not measured: it was late.'
    """
    return section.Section(
        name=name,
        title=name.capitalize(),
        status="not measured",
        sentence=f"Not measured: {reason.rstrip('.')}.",
    )


def _off(name: str) -> section.Section:
    return section.Section(
        name=name,
        title=name.capitalize(),
        status="off",
        sentence="Switched off in [inspect].",
    )


def measured(found: Iterable[section.Section]) -> tuple[section.Section, ...]:
    """Return the sections that hold figures."""
    return tuple(each for each in found if each.status == "measured")
