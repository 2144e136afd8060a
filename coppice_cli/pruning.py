"""From the words of `coppice prune` to a request of the learning plane."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coppice import errors, project
from retrain import candidate, dataset
from retrain.pruning import recipe

if TYPE_CHECKING:
    from coppice import settings
    from coppice.eventlog import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for on the command line; `None` leaves it to the settings."""

    recipe: Path | None = None
    criterion: str | None = None
    amount: float | None = None
    level: str | None = None
    scope: str | None = None
    schedule: str | None = None
    rounds: int | None = None
    recovery: bool = True
    recover_on: str | None = None
    production: bool = False
    force: bool = False
    reason: str = ""


def recipe_of(wish: Wish, section: settings.PruneSettings) -> recipe.Recipe:
    """Take the recipe from a file or else from the settings, and change what the wish names.

    What is wished goes into the first step; a chain's later steps stay as the file has them.

    Raises
    ------
    PruningError
        The file cannot be read, or what comes out cannot be carried out.
    """
    base = recipe.Recipe.from_settings(section) if wish.recipe is None else _read(wish.recipe)
    named = ("level", "criterion", "amount", "scope", "schedule", "rounds")
    wished = {name: getattr(wish, name) for name in named}
    changes: dict[str, Any] = {n: value for n, value in wished.items() if value is not None}
    if not wish.recovery:
        changes["finetune_epochs"] = 0
    return dataclasses.replace(base, **changes)


def request_of(
    wish: Wish, own: project.Project, log: base.IndexedLog
) -> candidate.CandidateRequest:
    """Build the request; loads the data only where production rows must fit it.

    Raises
    ------
    PruningError
        The recipe cannot be carried out.
    ProjectError
        Production rows are wanted, but the data that they must fit cannot be used.
    """
    plan = recipe_of(wish, own.settings.prune)
    data = project.load_data(own) if wish.production else None
    return candidate.CandidateRequest(
        recipe=plan,
        reason=wish.reason or candidate.CandidateRequest.reason,
        force=wish.force,
        recover_on=wish.recover_on,
        production=None if data is None else dataset.from_log(log, data, own.settings),
    )


def _read(path: Path) -> recipe.Recipe:
    try:
        return recipe.Recipe.from_json(path.read_bytes())
    except OSError as cause:
        message = f"the recipe {path} cannot be read: {cause}"
        raise errors.PruningError(message) from cause
