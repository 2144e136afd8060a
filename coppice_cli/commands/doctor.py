"""`coppice doctor`: check project and machine, and say how to mend each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from coppice_cli import console, options

if TYPE_CHECKING:
    from coppice_cli.doctor.finding import Finding

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(folder: options.Project = options.HERE, as_json: options.Json = False) -> None:
    """Check settings, project, stores and machine; exit code 1 where there is a problem."""
    from coppice_cli.doctor import examination

    with console.err().status("looking ..."):
        findings = list(examination.examine(folder))
    if as_json:
        import msgspec

        console.write_json(msgspec.to_builtins(findings))
    else:
        _show(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding]) -> None:
    screen = console.out()
    table = console.table("check", "", "finding")
    for finding in findings:
        text = console.plain(finding.text)
        if finding.remedy:
            text.append(f"\n-> {finding.remedy}", style="cyan")
        table.add_row(finding.check, f"[{COLOURS[finding.level]}]{finding.level}[/]", text)
    screen.print(table)
    problems, warnings = (
        sum(finding.level == level for finding in findings) for level in ("problem", "warning")
    )
    screen.print(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}.")


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
