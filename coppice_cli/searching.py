"""From the words of `coppice search` to a wish, and from a finding to a recipe and a verdict."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from coppice import errors, files
from coppice_cli import pruning, search_view
from retrain import choosing
from retrain.search import choice, loop, probes, terms

if TYPE_CHECKING:
    from coppice import settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for on the command line; `None` leaves it to the settings."""

    target: str | None = None
    at_least: float | None = None
    max_drop: float | None = None
    max_slice_drop: float | None = None
    minutes: float | None = None
    recipe: Path | None = None
    batch: int | None = None
    blocks: bool | None = None


def wish_of(asked: Asked, tree: settings.Settings) -> choice.Wish:
    """Fill in from the settings what was not asked for.

    A budget goes with `--at-least` only where one is named beside it: otherwise the least damage
    is what is asked for, whatever it is.

    Raises
    ------
    SettingsError
        A number or name is not allowed; the message says which are.
    PruningError
        The recipe's file cannot be read.
    """
    # The table's own checks hold for what the command line names, too.
    changes = {
        "target": asked.target,
        "max_drop": asked.max_drop,
        "max_slice_drop": asked.max_slice_drop,
        "minutes": asked.minutes,
        "batch_rows": asked.batch,
        "blocks": asked.blocks,
    }
    section = _checked(tree.search, {n: v for n, v in changes.items() if v is not None})
    if asked.at_least is not None and asked.at_least <= 1.0:
        message = f"--at-least is {asked.at_least}; it must be above 1, which is dense"
        raise errors.SettingsError(message)
    named = asked.max_drop is not None or asked.max_slice_drop is not None
    budget = probes.Budget(drop=section.max_drop, slice_drop=section.max_slice_drop)
    return choice.Wish(
        base=pruning.recipe_of(pruning.Wish(recipe=asked.recipe), tree.prune),
        leave_out=section.blocks,
        terms=terms.Terms(
            target=section.target,
            batch=section.batch_rows,
            threads=tree.serve.model_threads,
            ways=_ways(tree, section.target),
            min_gain=tree.pack.min_gain,
        ),
        at_least=asked.at_least,
        budget=budget if named or asked.at_least is None else None,
        effort=probes.Effort(epochs=section.probe_epochs, rows=section.probe_rows),
        structures=section.structures,
        sensitivity_rows=section.sensitivity_rows,
        minutes=section.minutes,
    )


def _ways(tree: settings.Settings, target: terms.Target) -> tuple[terms.Way, ...]:
    """Return what may serve, the plain graph first; only a latency looks at the others."""
    found = tuple(
        terms.Way(engine=w.engine, precision=w.precision) for w in choosing.ways(tree.pack)
    )
    return found if target == "latency" else found[:1]


def _checked(
    section: settings.SearchSettings, changes: dict[str, str | float | int]
) -> settings.SearchSettings:
    import pydantic

    try:
        return type(section).model_validate({**section.model_dump(), **changes})
    except pydantic.ValidationError as cause:
        told = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in cause.errors())
        message = f"coppice search: {told}"
        raise errors.SettingsError(message) from cause


def write_recipe(found: loop.Found, out: Path | None, tree: settings.Settings) -> Path | None:
    """Write the recipe that was found, where one does what was asked or a file was named."""
    if found.recipe is None or not (found.met or out):
        return None
    path = out or tree.home / "search" / "recipe.json"
    files.replace(path, msgspec.json.format(found.recipe.to_json().encode()) + b"\n")
    return path


def write_page(found: loop.Found, wish: choice.Wish, tree: settings.Settings) -> Path:
    """Write the page with the pictures of a search, and return where it lies."""
    from retrain.report import search_page

    path = tree.home / "search" / "search.html"
    target = search_view.TARGETS[wish.terms.target]
    sentences = tuple(search_view.sentences(found, wish))
    text = search_page.render(found, name=tree.project.name, target=target, sentences=sentences)
    files.replace(path, text.encode())
    return path


def judge(found: loop.Found, wish: choice.Wish) -> None:
    """Say as an error that nothing does what was asked.

    Raises
    ------
    BudgetMissed
        No width that was probed does.
    """
    if found.met:
        return
    what = "meets your budget" if wish.at_least is None else f"reaches {wish.at_least} times less"
    early = " (the time was up; run it again to go on)" if found.stopped else ""
    if found.chosen is None and not found.stopped:
        message = "nothing that was measured costs less than dense; try a finer align or a --target"
    elif found.chosen is None:
        message = f"nothing was probed{early}; allow more --minutes"
    else:
        message = f"no width {what}; the best is {search_view.in_words(found, wish)}{early}"
    raise errors.BudgetMissed(message)
