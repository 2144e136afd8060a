"""Where each part of a page may serve as evidence: NIST AI RMF 1.0 and ISO/IEC 42001:2023.

A modest map. It names the subcategories and controls to which a figure can contribute; meeting any
of them takes people, decisions and documents that no measurement replaces, and `NOT_COVERED` says
so plainly.

References
----------
NIST, Artificial Intelligence Risk Management Framework (AI RMF 1.0), NIST AI 100-1 (2023),
https://doi.org/10.6028/NIST.AI.100-1, tables 1 to 4.
ISO/IEC 42001:2023, Information technology, Artificial intelligence, Management system, Annex A.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from retrain.evaluate import section

SOURCES = (
    "NIST AI 100-1, Artificial Intelligence Risk Management Framework (AI RMF 1.0), January 2023",
    "ISO/IEC 42001:2023, Annex A, Reference control objectives and controls",
)


@dataclasses.dataclass(frozen=True)
class Link:
    """One part of a page, what it shows, and where that may count."""

    part: str
    shows: str
    nist: tuple[str, ...]
    iso: tuple[str, ...]


PARTS = (
    Link(
        "gates",
        "thresholds set beforehand, each judged, refusals by name",
        ("GOVERN 1.4", "MEASURE 1.1", "MANAGE 1.1"),
        ("A.6.2.4", "A.6.2.5"),
    ),
    Link(
        "scores",
        "performance against dense parent, null control and champion, with intervals",
        ("MEASURE 2.1", "MEASURE 2.3", "MEASURE 2.5"),
        ("A.6.2.4",),
    ),
    Link(
        "production",
        "the same on recent labelled production rows that no training saw",
        ("MEASURE 2.4", "MANAGE 4.1"),
        ("A.6.2.6",),
    ),
    Link(
        "lineage",
        "parent, recipe, data digest, seed and library versions",
        ("GOVERN 1.4", "MEASURE 2.8"),
        ("A.4.2", "A.4.4", "A.6.2.3", "A.6.2.7"),
    ),
)
"""Parts that every page has."""
SECTIONS = (
    Link(
        "metrics",
        "discrimination, calibration and overfitting",
        ("MEASURE 2.3", "MEASURE 2.5"),
        ("A.6.2.4",),
    ),
    Link(
        "slices",
        "who pays for the pruning, declared subsets and found ones",
        ("MEASURE 2.5", "MEASURE 2.11"),
        ("A.5.4", "A.6.2.4"),
    ),
    Link(
        "fairness",
        "gaps between the groups of declared sensitive columns",
        ("MEASURE 2.11",),
        ("A.5.4", "A.6.2.4"),
    ),
    Link(
        "exemplars",
        "single rows on which pruning changes the answer",
        ("MEASURE 2.5", "MEASURE 2.9"),
        ("A.6.2.4",),
    ),
    Link(
        "ablation",
        "what each part of the network contributes",
        ("MEASURE 2.9",),
        ("A.6.2.3", "A.6.2.4"),
    ),
    Link(
        "attribution",
        "whether answers rest on the same inputs as the parent's",
        ("MEASURE 2.9",),
        ("A.6.2.4",),
    ),
    Link(
        "robustness",
        "attacks at stated budgets and everyday corruptions",
        ("MEASURE 2.7",),
        ("A.6.2.4",),
    ),
    Link(
        "privacy",
        "how well training rows can be told from others",
        ("MEASURE 2.10",),
        ("A.5.4", "A.6.2.4"),
    ),
    Link(
        "data",
        "leaks, copies, missing and constant columns, imbalance",
        ("MAP 2.3", "MEASURE 2.1"),
        ("A.7.2", "A.7.4"),
    ),
    Link(
        "labels",
        "estimated label issues; how production labels came about",
        ("MAP 2.3", "MEASURE 2.4"),
        ("A.7.4",),
    ),
    Link(
        "provenance",
        "source, licence field, digests, counts and time span",
        ("MAP 2.3", "MAP 4.1"),
        ("A.7.3", "A.7.5"),
    ),
    Link(
        "poisoning",
        "signs of planted rows, reported for a person to look at",
        ("MEASURE 2.7",),
        ("A.7.4",),
    ),
    Link(
        "cost",
        "size, latency, memory, energy where the machine tells",
        ("MAP 3.1", "MAP 3.2", "MEASURE 2.12"),
        ("A.4.5",),
    ),
)
"""One for each section of `[inspect]`."""
NOT_COVERED = (
    (
        "No conformity is claimed: neither framework can be met by a report, and ISO/IEC 42001 "
        "is certified for an organization's management system, not for a model."
    ),
    (
        "GOVERN beyond 1.4, and ISO A.2, A.3, A.4.6, A.9 and A.10: policies, roles, competence, "
        "responsible use, suppliers and customers."
    ),
    (
        "MAP 1, MAP 5 and ISO A.5.2, A.5.3, A.5.5: intended use, context, and the impact "
        "assessment on individuals and society. A.5.4 gets figures on groups, not the "
        "assessment itself."
    ),
    (
        "MEASURE 2.2, 2.6 and 3: evaluations with human subjects, safety, and the tracking of "
        "risks over time. MEASURE 1.3: independent assessors; these figures are the developer's "
        "own."
    ),
    (
        "MANAGE 1.2 to 1.4, 2, 3 and 4.2 to 4.3: treating risks, disengaging a system, third "
        "parties, incidents. Rollback and monitoring exist in Coppice, but this page is about "
        "one version."
    ),
    (
        "ISO A.6.1, A.6.2.2, A.6.2.8, A.7.6 and A.8: objectives, requirements, event logs, data "
        "preparation, and what users and interested parties are told."
    ),
)
"""What nobody should read into a page."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the appendix: a link, and whether this version has the evidence."""

    link: Link
    here: str


def rows(sections: Mapping[str, section.Section], *, production: bool) -> tuple[Row, ...]:
    """Return the appendix of a version; what was not measured says so."""
    fixed = tuple(
        Row(link, "measured" if link.part != "production" or production else "not measured")
        for link in PARTS
    )
    ours = tuple(
        Row(link, sections[link.part].status if link.part in sections else "not measured")
        for link in SECTIONS
    )
    return fixed + ours
