"""`coppice rollout`: run the controller, look at the rollout, and steer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from pathlib import Path

    from coppice import records

app = typer.Typer(no_args_is_help=True, help="Look at the running rollout, and steer it.")

Wait: TypeAlias = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the outcome.")
]


@app.command()
def run(folder: options.Project = options.HERE) -> None:
    """Run the controller: candidates and verdicts in, routing table out."""
    from deploy import loop

    loop.main(compose.settings_of(folder))


@app.command()
def status(
    folder: options.Project = options.HERE,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Past steps shown.")] = 8,
    as_json: options.Json = False,
) -> None:
    """Show the rollout's state and its latest steps."""
    from coppice_cli import rollout_view, steering

    tree = compose.settings_of(folder)
    with compose.event_log(tree) as log:
        steps = steering.history(log, tree.project.name)
    if as_json:
        console.write_json(rollout_view.as_json(steps, limit))
    else:
        rollout_view.show(console.out(), steps, limit=limit, now=compose.clock().now())


@app.command()
def promote(
    folder: options.Project = options.HERE, reason: options.Reason = "", wait: Wait = 10.0
) -> None:
    """Make the candidate champion now, whatever the evidence says."""
    _order(folder, "promote", reason, wait)


@app.command()
def abort(
    folder: options.Project = options.HERE, reason: options.Reason = "", wait: Wait = 10.0
) -> None:
    """Drop the candidate; while a new champion is watched, bring the previous one back."""
    _order(folder, "abort", reason, wait)


@app.command()
def pause(
    folder: options.Project = options.HERE, reason: options.Reason = "", wait: Wait = 10.0
) -> None:
    """Stop the rollout where it is; safety rules go on."""
    _order(folder, "pause", reason, wait)


@app.command()
def resume(
    folder: options.Project = options.HERE, reason: options.Reason = "", wait: Wait = 10.0
) -> None:
    """Let a paused rollout go on; its stage begins anew."""
    _order(folder, "resume", reason, wait)


def _order(folder: Path, action: records.Action, reason: str, wait: float) -> None:
    from coppice import records
    from coppice_cli import rollout_view, steering
    from deploy import orders

    tree = compose.settings_of(folder)
    model, clock = tree.project.name, compose.clock()
    command = records.Command(model=model, action=action, actor=compose.actor(), reason=reason)
    with compose.event_log(tree) as log:
        identity = orders.give(log, command, source="coppice.cli", clock=clock)
        with console.err().status(f"asked to {action}; waiting for the controller ..."):
            after = steering.outcome(log, model, identity, clock=clock, patience=wait)
    console.out().print(rollout_view.sentence(after), markup=False, soft_wrap=True)
