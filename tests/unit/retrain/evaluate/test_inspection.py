from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from coppice import sections, settings
from coppice.testing import ManualClock
from retrain.evaluate import evaluation, inspection, section
from retrain.pruning import recipe
from tests.support import digits, slow_section

GOOD = "tests.support.sections"
BROKEN = "tests.support.broken_section"
SLOW = "tests.support.slow_section"
NAMES = ("robustness", "privacy", "cost")


@pytest.fixture(scope="module")
def subject() -> section.Subject:
    data = digits.load_data()
    own: Any = None
    return section.Subject(
        own=own,
        models={},
        data=data,
        production=None,
        training=data.train,
        rules=evaluation.Rules(task="multiclass"),
        recipe=recipe.Recipe(),
        graphs={},
    )


def inspect(
    subject: section.Subject,
    modules: Mapping[sections.SectionName, str],
    told: list[float] | None = None,
    **rules: Any,
) -> inspection.Sections:
    how = inspection.Inspection(
        rules=settings.InspectSettings(**rules), timer=slow_section.CLOCK, modules=modules
    )
    return how.run(subject, (told if told is not None else []).append)


def test_every_section_of_the_settings_has_a_module_and_the_other_way_round() -> None:
    assert tuple(inspection.SECTIONS) == get_args(sections.SectionName)


@pytest.mark.parametrize("name", list(inspection.SECTIONS))
def test_every_section_that_is_named_can_be_measured(name: sections.SectionName) -> None:
    assert callable(importlib.import_module(inspection.SECTIONS[name]).measure)


def test_a_section_is_kept_as_it_is_under_its_name_and_timed_by_the_clock(
    subject: section.Subject,
) -> None:
    found = inspect(subject, {"cost": SLOW, "privacy": GOOD})
    assert (found["cost"].name, found["cost"].seconds) == ("cost", 10.0)
    assert found["privacy"].figures["cheer"].value == 0.75
    # Its own idea of the time does not count.
    assert found["privacy"].seconds == 0.0


def test_one_that_fails_says_why_and_loses_no_other(subject: section.Subject) -> None:
    found = inspect(subject, {"robustness": BROKEN, "privacy": GOOD})
    assert found["robustness"].status == "not measured"
    assert found["robustness"].sentence == (
        "Not measured: it failed with ZeroDivisionError: no gradient for Subject."
    )
    assert found["privacy"].status == "measured"


def test_one_whose_library_is_missing_names_it(subject: section.Subject) -> None:
    found = inspect(subject, {"fairness": "no_such_library"})
    assert found["fairness"].sentence == (
        "Not measured: the module no_such_library is not installed here."
    )


def test_what_is_switched_off_is_listed_as_off(subject: section.Subject) -> None:
    modules: dict[sections.SectionName, str] = {"robustness": GOOD, "privacy": GOOD, "cost": GOOD}
    found = inspect(subject, modules, sections=("privacy", "cost"), skip=("cost",))
    assert {name: each.status for name, each in found.items()} == {
        "robustness": "off",
        "privacy": "measured",
        "cost": "off",
    }


def test_when_the_budget_is_spent_no_further_one_begins(subject: section.Subject) -> None:
    modules: dict[sections.SectionName, str] = {"robustness": SLOW, "privacy": SLOW, "cost": SLOW}
    # After 10 s there are 5 left, so the second begins; after 20 s the third does not.
    found = inspect(subject, modules, budget_seconds=15.0)
    assert [found[name].status for name in modules] == ["measured", "measured", "not measured"]
    assert "the 15 s of [inspect] budget_seconds were spent" in found["cost"].sentence


def test_progress_counts_the_sections_that_are_wanted(subject: section.Subject) -> None:
    told: list[float] = []
    modules: dict[sections.SectionName, str] = {"robustness": GOOD, "privacy": BROKEN, "cost": GOOD}
    inspect(subject, modules, told, skip=("cost",))
    assert told == [0.5, 1.0]


def test_whoever_listens_can_stop_it(subject: section.Subject) -> None:
    def stop(_: float) -> None:
        raise KeyError("stopped")

    how = inspection.Inspection(
        rules=settings.InspectSettings(), timer=ManualClock(), modules={"cost": GOOD}
    )
    with pytest.raises(KeyError, match="stopped"):
        how.run(subject, stop)


def test_nothing_wanted_is_nothing_measured(subject: section.Subject) -> None:
    told: list[float] = []
    found = inspect(subject, {"cost": GOOD, "privacy": GOOD}, told, sections=())
    assert inspection.measured(found.values()) == ()
    assert told == []


def test_sections_are_made_in_one_order_whatever_the_settings_say() -> None:
    rules = settings.InspectSettings(sections=("cost", "metrics"))
    how = inspection.Inspection(rules=rules, timer=ManualClock())
    assert how.wanted() == ("metrics", "cost")


def test_measured_ones_are_told_from_the_rest() -> None:
    found = section.Section(name="x", title="X", status="measured", sentence="Fine.")
    assert inspection.measured([found, inspection.missing("y", "no")]) == (found,)
