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
    heads = ("criterion", "removed", "score", "lost", "speed", "x32", "MACs", "above random")
    shown = console.table(*heads, numbers=heads[1:])
    for row in sweep_page.rows(found):
        shown.add_row(
            row.criterion,
            row.amount,
            row.score,
            row.drop,
            row.gain,
            row.batch_gain,
            row.macs.removesuffix(" less"),
            row.edge,
        )
    for criterion, amounts, _ in sweep_page.refused(found):
        shown.add_row(criterion, amounts, "refused", *[""] * 5)
    console.out().print(shown)
    for criterion, _, reason in sweep_page.refused(found):
        console.out().print(f"{criterion} was refused: {reason}", markup=False, soft_wrap=True)
