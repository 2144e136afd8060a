"""`coppice gate`: judge a version again, for a pipeline that releases it or does not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from coppice_cli import compose, console, options

if TYPE_CHECKING:
    from retrain import gates

Format: TypeAlias = Literal["text", "json", "junit", "github"]


def gate(
    version: options.Version,
    folder: options.Project = options.HERE,
    form: Annotated[
        Format,
        typer.Option("--format", help="For people, or for a pipeline: text, json, junit, github."),
    ] = "text",
) -> None:
    """Judge a version's card by the gates as they are set today.

    Nothing is measured anew. The exit code is 4 where a gate refuses, so that
    a pipeline stops there.
    """
    from coppice import errors
    from coppice_cli import versions
    from retrain import gates

    tree = compose.settings_of(folder)
    tag, made = versions.card_of(compose.registry_of(tree), tree.project.name, version)
    if not made.evaluation.holdout.comparisons:
        message = f"{tag} is a dense parent: it is what others are judged against"
        raise errors.UnknownVersion(message)
    results = gates.check_all(made.evaluation, made.sections, tree.gates)
    _show(form, tag, results)
    if gates.refusals(results):
        raise typer.Exit(errors.GateRefused.exit_code)


def _show(form: Format, tag: str, results: tuple[gates.GateResult, ...]) -> None:
    from coppice_cli import card_view, verdicts
    from retrain import gates

    match form:
        case "text":
            card_view.show_gates(console.out(), results)
            word = "[bold red]refused[/]" if gates.refusals(results) else "[green]passed[/]"
            console.out().print(f"\n{tag} {word}")
        case "json":
            console.write_json(verdicts.tree(tag, results))
        case "junit":
            sys.stdout.write(verdicts.junit(tag, results))
        case "github":
            sys.stdout.write(verdicts.github(tag, results))
