"""The page itself: one HTML text that needs nothing beside it.

Called by `coppice report`. Takes a card and its tag; gives the text. Everything in it comes from
the card, so the page of an old version can be written again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from retrain import card
from retrain.evaluate import evaluation, section
from retrain.pruning import wording
from retrain.report import (
    packings,
    pictures,
    pruning_pictures,
    prunings,
    standards,
    summary,
    words,
)

TEMPLATE = Path(__file__).parent / "page.html.j2"
STYLE = Path(__file__).parent / "style.css"
WORDY = 24
"""Characters of a row's name from which on its column gets more room."""
LONG_TABLE = 15
"""Rows from which on a table is folded, so that the page stays short."""
VERDICTS = {
    "accepted": "accepted",
    "forced": "forced past its gates",
    "refused": "refused",
    "dense": "dense parent",
}


def render(made: card.Card, tag: str, cut: prunings.Cut | None = None) -> str:
    """Return the page of one version.

    Parameters
    ----------
    cut
        What was cut; `None` for a dense parent.
    """
    return filled(TEMPLATE, _content(made, tag) | _cut(made, cut))


def filled(template: Path, content: Mapping[str, Any]) -> str:
    """Fill a template of this folder, in the style that all pages share."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": words.number,
        "cell": words.cell,
        "interval": words.interval,
        "words": words.name,
    }
    style = markupsafe.Markup(STYLE.read_text(encoding="utf-8").rstrip())  # noqa: S704 - our own
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(style=style, **content)


def _content(made: card.Card, tag: str) -> dict[str, Any]:
    found = summary.summarise(made)
    tables = {"holdout": made.evaluation.holdout, "recent production": made.evaluation.production}
    return {
        "tag": tag,
        "made": made,
        "found": found,
        "verdict": VERDICTS[found.verdict],
        "tables": {name: table for name, table in tables.items() if table is not None},
        "names": summary.NAMES,
        "units": {"score": "share", "calibration_error": "share"},
        "apart": apart,
        "gate_value": words.gate_value,
        "ways": (
            packings.table(made.packing)
            if made.packing is not None and any(packings.sentences(made.packing))
            else None
        ),
        "sections": [each for each in made.sections.values() if each.status == "measured"],
        "missing": [each for each in made.sections.values() if each.status != "measured"],
        "chart": _chart,
        "numeric": numeric,
        "wordy": wordy,
        "broad": broad,
        "image": pictures.image,
        "long_table": LONG_TABLE,
        "standards": standards.rows(
            made.sections, production=made.evaluation.production is not None
        ),
        "not_covered": standards.NOT_COVERED,
        "sources": standards.SOURCES,
    }


def _cut(made: card.Card, cut: prunings.Cut | None) -> dict[str, Any]:
    found = cut or prunings.Cut()
    title = "Before and after, from the input to the output"
    drawn = pruning_pictures.widths(found.widths, title=title, place="cut") if found.widths else ""
    return {
        "cut": cut,
        "recipe": None if made.recipe is None else wording.whole(made.recipe),
        "widths": (title, markupsafe.Markup(drawn)),  # noqa: S704 - matplotlib escapes texts
        "masks": section.Table(
            title="Masked tensors: weights that are not zero",
            columns=("tensor", "kept", "of", "share", "pattern"),
            rows=tuple(
                (mask.tensor, mask.kept, mask.size, mask.kept / mask.size, mask.pattern)
                for mask in found.masks
            ),
        ),
        "whole": section.Table(
            title="Left whole, and why",
            columns=("layer", "reason"),
            rows=tuple((each.name, each.reason) for each in found.whole),
        ),
    }


def apart(table: evaluation.Table) -> str:
    """Name what tells two models' answers apart: rows that differ, or for a regression a distance.

    >>> shown = {"parent": {"score": 0.6, "mae": 0.4}}
    >>> apart(evaluation.Table(rows=9, columns=shown, yardstick="parent"))
    'distance / scale'
    """
    values = any("mae" in figures for figures in table.columns.values())
    return "distance / scale" if values else "differ"


def numeric(table: section.Table) -> tuple[int, ...]:
    """Return the places of the columns that hold only numbers, the first one aside.

    >>> numeric(section.Table(title="", columns=("a", "b", "c"), rows=((1, 2.5, "x"), (2, None,
    ...     "y"))))
    (1,)
    """
    return tuple(
        place
        for place in range(1, len(table.columns))
        if not any(isinstance(row[place], str) for row in table.rows)
    )


def wordy(rows: Sequence[Sequence[section.Cell]]) -> bool:
    """Say whether the first column holds sentences, which need room.

    >>> wordy([("pen=ink", 1)]), wordy([("contrast of pixels above 0.37", 2)])
    (False, True)
    """
    return any(len(str(row[0])) > WORDY for row in rows if row)


def broad(pixels: Sequence[Sequence[float]]) -> bool:
    """Say whether a picture is so much wider than high that it takes two places."""
    return bool(pixels) and len(pixels[0]) > 1.5 * len(pixels)


def _chart(found: section.Chart, place: str) -> markupsafe.Markup:
    return markupsafe.Markup(pictures.chart(found, place))  # noqa: S704 - matplotlib escapes texts
