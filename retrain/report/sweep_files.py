"""Write a sweep's files into its folder: record, table, page, pictures, recipes to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from coppice import errors, files
from retrain.report import sweep_page
from retrain.sweep import plan, record

RECORD, TABLE, PAGE = "sweep.json", "sweep.md", "sweep.html"


def write(found: record.Sweep, wanted: plan.Plan, folder: Path) -> Path:
    """Write all files, each in one step, and return the page's.

    Raises
    ------
    EnvironmentProblem
        The disk is full, or the folder cannot be written.
    """
    try:
        for name, content in _contents(found, wanted):
            files.replace(folder / name, content)
    except OSError as cause:
        message = f"the sweep cannot be written to {folder}: {cause}"
        raise errors.EnvironmentProblem(message) from cause
    return folder / PAGE


def _contents(found: record.Sweep, wanted: plan.Plan) -> Iterator[tuple[str, bytes]]:
    yield RECORD, record.to_json(found)
    yield TABLE, sweep_page.markdown(found).encode()
    drawn = sweep_page.pictures(found)
    for picture in drawn:
        yield f"{picture.name}.svg", picture.svg.encode()
    for criterion, amount, _ in sweep_page.on_front(found):
        combination = record.Combination(criterion=criterion, amount=amount, seed=found.seeds[0])
        text = wanted.recipe(combination).to_json().encode()
        yield f"recipe-{criterion}-{100 * amount:.6g}.json", msgspec.json.format(text) + b"\n"
    yield PAGE, sweep_page.render(found, drawn).encode()
