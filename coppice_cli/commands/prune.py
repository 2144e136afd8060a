"""`coppice prune`: make a candidate by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from coppice import records
    from coppice.registry import base
    from coppice_cli import pruning


def prune(
    folder: options.Project = options.HERE,
    amount: Annotated[
        float | None, typer.Option(help="Share of each group's channels to remove, in (0, 1).")
    ] = None,
    criterion: Annotated[
        str | None, typer.Option(help="How channels are ranked: magnitude, taylor or random.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON of a whole recipe, in place of \\[prune]."),
    ] = None,
    recovery: Annotated[
        bool, typer.Option("--recovery/--no-recovery", help="Fine-tune after the cut.")
    ] = True,
    recover_on: Annotated[
        str | None,
        typer.Option(metavar="FAMILY=NAME", help="Fine-tune on the rows of one slice alone."),
    ] = None,
    production: Annotated[
        bool, typer.Option("--production", help="Learn from labelled production rows, too.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Register it even where a gate refuses it.")
    ] = False,
    reason: options.Reason = "",
) -> None:
    """Train or load the dense parent, prune it, prove it, and register the candidate.

    A refused candidate is kept, so that it can be looked at, but never
    rolled out; the exit code is then 4.
    """
    from coppice_cli import pruning

    wish = pruning.Wish(
        recipe=recipe,
        criterion=criterion,
        amount=amount,
        recovery=recovery,
        recover_on=recover_on,
        production=production,
        force=force,
        reason=reason,
    )
    _make(folder, wish)


def _make(folder: Path, wish: pruning.Wish) -> None:
    from coppice import errors, records
    from coppice_cli import progress, pruning
    from retrain import candidate

    tree = compose.settings_of(folder)
    own, registry = compose.project_of(tree), compose.registry_of(tree)
    with compose.event_log(tree) as log:
        request = pruning.request_of(wish, own, log)
        try:
            with progress.bars(console.err()) as tell:
                made = candidate.make(own, registry, log, request, progress=tell)
        except errors.GateRefused:
            event = log.latest(tree.project.name, records.Candidate)
            refused = None if event is None else records.unseal(event)
            if isinstance(refused, records.Candidate):
                _show(refused, registry)
            raise
    _show(made, registry)


def _show(made: records.Candidate, registry: base.Registry) -> None:
    from coppice_cli import card_view
    from retrain import card

    card_view.show(console.out(), made, card.read(registry.path(made.version)))
