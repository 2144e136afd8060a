"""From the words of `coppice sweep` to a plan, and from what was found to the screen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from coppice_cli import console, pruning
from retrain.report import sweep_files, sweep_page
from retrain.sweep import plan, record, run, summary

if TYPE_CHECKING:
    from coppice import settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for on the command line."""

    criteria: str
    amounts: str
    seeds: int
    level: str | None = None
    recipe: Path | None = None
    control: bool = True
    scored: Literal["validation", "holdout"] = "validation"


def plan_of(wish: Wish, tree: settings.Settings) -> plan.Plan:
    """Say what is combined; the seeds begin with the project's own.

    Raises
    ------
    PruningError
        A file cannot be read, or a name or number is not valid.
    """
    base = pruning.recipe_of(pruning.Wish(recipe=wish.recipe), tree.prune)
    if wish.level is not None:
        base = dataclasses.replace(base, level=wish.level)
    first = tree.project.seed
    return plan.Plan(
        base=base,
        criteria=plan.chosen(wish.criteria, control=wish.control),
        amounts=plan.numbers(wish.amounts),
        seeds=tuple(range(first, first + wish.seeds)),
        scored=wish.scored,
    )


def show(result: run.Result, wanted: plan.Plan, folder: Path, *, as_json: bool) -> None:
    """Write the files, and show the table and where they lie."""
    page = sweep_files.write(result.found, wanted, folder)
    if as_json:
        console.write_json(msgspec.to_builtins(result.found))
    else:
        _table(result.found)
        for sentence in summary.sentences(result.found):
            console.out().print(sentence, markup=False)
    screen = console.err()
    if result.found.left:
        why = "The time is up" if result.ending == "out of time" else "Interrupted"
        screen.print(f"{why}: {result.found.left} combinations are left; run it again to go on.")
    screen.print(f"wrote {page}", soft_wrap=True, markup=False)


def _table(found: record.Sweep) -> None:
    heads = ("criterion", "cut", "score", "lost", "1 row", "32 rows", "MACs", "above random")
    shown = console.table(*heads, numbers=heads[1:])
    edges = {(edge.criterion, edge.amount): edge for edge in found.edges}
    for cell in summary.cells(found):
        shown.add_row(
            cell.criterion,
            summary.percent(cell.amount),
            console.percent(cell.score.value),
            f"{100 * cell.drop.value:z.2f}",
            console.ratio(cell.gains[1].value),
            console.ratio(cell.gains[record.BATCH].value),
            console.ratio(cell.macs),
            _edge(edges.get((cell.criterion, cell.amount))),
        )
    refused = sweep_page.refused(found)
    for criterion, amounts, _ in refused:
        shown.add_row(criterion, amounts, "refused", *[""] * 5)
    console.out().print(shown)
    for criterion, _, reason in refused:
        console.out().print(f"{criterion} was refused: {reason}", markup=False, soft_wrap=True)


def _edge(edge: record.Edge | None) -> str:
    if edge is None:
        return "-"
    if edge.low is None or edge.high is None:
        return f"{100 * edge.value:+.2f}"
    return f"{100 * edge.low:+.1f}..{100 * edge.high:+.1f}"
