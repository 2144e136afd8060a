"""The command line: `coppice COMMAND`.

Called by the console script. Takes the arguments of the process; gives an exit code. Start-up is
quick because commands import what they need when they run.

Exit codes: 0 done, 1 a finding or an error of no other class, 2 usage, settings or project, 3
artifact or version, 4 a gate refused, 5 event log, 6 pruning, 7 rollout, 8 environment, 9 a
relay or follower whose Kafka is stuck, 130 interrupted. `coppice.errors` draws the tree.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import coppice
from coppice import errors, telemetry
from coppice_cli import console, guard
from coppice_cli.commands import (
    bake,
    compare,
    demo,
    doctor,
    export,
    follow,
    gate,
    init,
    labels,
    log,
    monitoring,
    processes,
    prune,
    pull,
    relay,
    report,
    rollout,
    score,
    search,
    status,
    sweep,
    up,
)

DEBUG = "COPPICE_DEBUG"
"""Environment variable that shows the traceback of expected errors, too."""

app = typer.Typer(
    name="coppice",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Keep pruned models healthy in production: prune, prove, serve, watch, retrain.",
)

PROJECT, RUN, LOOK = "Your project", "Run the loop", "Look and steer"

app.command(rich_help_panel=PROJECT)(init.init)
app.command(rich_help_panel=PROJECT)(doctor.doctor)
app.command(rich_help_panel=PROJECT)(prune.prune)
app.command(rich_help_panel=PROJECT)(sweep.sweep)
app.command(rich_help_panel=PROJECT)(search.search)
app.command(rich_help_panel=PROJECT)(demo.demo)
app.command(rich_help_panel=RUN)(up.up)
app.command(rich_help_panel=RUN)(processes.serve)
app.command(rich_help_panel=RUN)(score.score)
app.command(rich_help_panel=RUN)(export.export)
app.command(rich_help_panel=RUN)(bake.bake)
app.command(rich_help_panel=RUN)(pull.pull)
app.command(rich_help_panel=RUN)(pull.push)
app.command(rich_help_panel=RUN)(processes.monitor)
app.command(rich_help_panel=RUN)(processes.retrain)
app.command(rich_help_panel=RUN)(relay.relay)
app.command(rich_help_panel=RUN)(follow.follow)
app.add_typer(rollout.app, name="rollout", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(status.status)
app.command(rich_help_panel=LOOK)(report.report)
app.command(rich_help_panel=LOOK)(compare.compare)
app.command(rich_help_panel=LOOK)(gate.gate)
app.add_typer(labels.app, name="labels", rich_help_panel=LOOK)
app.add_typer(log.app, name="log", rich_help_panel=LOOK)
app.add_typer(monitoring.app, name="monitoring", rich_help_panel=LOOK)


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer hands the flag over by position)
    if wanted:
        console.out().print(f"coppice {coppice.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: FBT002  (typer makes an option of it)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


def invoke(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; expected errors become one clear message.

    >>> invoke(["--version"])
    coppice 0.1.0
    0
    """
    telemetry.silence()
    try:
        guard.check()
        typer.main.get_command(app).main(args=list(arguments), prog_name="coppice")
    except errors.CoppiceError as problem:
        return _explain(problem)
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as bug:
        bug.add_note("This is a bug in Coppice, not something that you did: please report it.")
        raise
    return 0


def run() -> None:
    """Enter from the shell."""
    sys.exit(invoke(sys.argv[1:]))


def _explain(problem: errors.CoppiceError) -> int:
    screen = console.err()
    if os.environ.get(DEBUG):
        screen.print_exception()
    screen.print("[bold red]error:[/]", end=" ")
    screen.print(str(problem), markup=False, soft_wrap=True)
    return problem.exit_code
