from __future__ import annotations

import re
from typing import get_args

import pytest

from coppice import sections
from retrain.report import standards
from tests.support import cards

EVERY = standards.PARTS + standards.SECTIONS


def test_every_section_has_its_place_in_both_frameworks() -> None:
    assert tuple(link.part for link in standards.SECTIONS) == get_args(sections.SectionName)


@pytest.mark.parametrize("link", EVERY, ids=lambda link: link.part)
def test_references_have_the_form_of_their_framework(link: standards.Link) -> None:
    assert link.nist
    assert link.iso
    assert all(re.fullmatch(r"(GOVERN|MAP|MEASURE|MANAGE) \d\.\d{1,2}", one) for one in link.nist)
    # Annex A has controls from A.2.2 to A.10.4.
    assert all(re.fullmatch(r"A\.(?:[2-9]|10)(?:\.\d){1,2}", one) for one in link.iso)


def test_all_four_functions_of_the_framework_are_touched() -> None:
    touched = {one.split()[0] for link in EVERY for one in link.nist}
    assert touched == {"GOVERN", "MAP", "MEASURE", "MANAGE"}


def test_what_is_not_covered_is_not_claimed_above() -> None:
    claimed = {one for link in EVERY for one in link.nist}
    assert claimed & {"MEASURE 2.2", "MEASURE 2.6", "MEASURE 1.3"} == set()
    assert standards.NOT_COVERED[0].startswith("No conformity is claimed")


def test_a_part_that_was_not_measured_says_so() -> None:
    here = {row.link.part: row.here for row in standards.rows(cards.SECTIONS, production=False)}
    assert here["gates"] == "measured"
    assert here["production"] == "not measured"
    assert here["robustness"] == "measured"
    assert here["privacy"] == "off"
    assert here["cost"] == "not measured"


def test_production_counts_where_there_is_some() -> None:
    here = {row.link.part: row.here for row in standards.rows({}, production=True)}
    assert here["production"] == "measured"
