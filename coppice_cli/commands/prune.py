"""`coppice prune`: make a candidate by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coppice_cli import compose, console, options
from retrain.pruning import criteria

if TYPE_CHECKING:
    from coppice import records, settings
    from coppice.registry import base
    from coppice_cli import pruning


def prune(
    folder: options.Project = options.HERE,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON of a whole recipe, in place of \\[prune]."),
    ] = None,
    level: Annotated[
        str | None, typer.Option(help="What is removed: neuron, layer or connection.")
    ] = None,
    criterion: Annotated[
        str | None, typer.Option(help=f"How it is ranked: {', '.join(criteria.names())}.")
    ] = None,
    amount: Annotated[
        float | None,
        typer.Option(help="Share of channels, blocks or weights to remove, from 0 up to below 1."),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="Over what the amount holds: each group (local), global, or criterion."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="In how many cuts: one-shot, iterative or gradual.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Cuts of a schedule other than one-shot.")
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
    rolled out; the exit code is then 4. Options go over the recipe's first step.

    Example: coppice prune --criterion magnitude --amount 0.3

    Example: coppice prune --level connection --amount 0.8 --schedule gradual

    Example: coppice prune --recipe recipe.json
    """
    from coppice_cli import pruning

    wish = pruning.Wish(
        recipe=recipe,
        level=level,
        criterion=criterion,
        amount=amount,
        scope=scope,
        schedule=schedule,
        rounds=rounds,
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
                _show(refused, registry, tree)
            raise
    _show(made, registry, tree)


def _show(made: records.Candidate, registry: base.Registry, tree: settings.Settings) -> None:
    from coppice_cli import card_view, reporting
    from retrain import card

    screen, made_card = console.out(), card.read(registry.path(made.version))
    card_view.show(screen, made, made_card, reporting.cut_of(registry, made.version))
    path = reporting.write(tree, registry, made.version, made_card)
    screen.print(f"wrote {path}", soft_wrap=True, markup=False)
