"""docs/reference/cli.md: every command with its arguments and options, read out of the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from coppice import errors
from coppice_cli import main, reference


def page() -> str:
    """Return docs/reference/cli.md."""
    root: Any = typer.main.get_command(main.app)
    lines = ["# Command line", "", reference.NOTE, "", f"{root.help}"]
    for words, command in _commands(("coppice",), root):
        lines += ["", f"## {' '.join(words)}", "", " ".join(command.help.split())]
        lines += ["", f"    {' '.join([*words, *_usage(command)])}"]
        rows = [_row(parameter) for parameter in command.params if parameter.help]
        if rows:
            lines += ["", "| argument or option | default | meaning |", "|---|---|---|", *rows]
    return "\n".join([*lines, "", *_exit_codes()]) + "\n"


def _commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, each in inner.items():
        yield from _commands((*words, name), each)


def _usage(command: Any) -> list[str]:
    names = [_shown(p) for p in command.params if p.param_type_name == "argument"]
    has_options = any(p.param_type_name == "option" for p in command.params)
    return [*(["[OPTIONS]"] if has_options else []), *names]


def _shown(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{_shown(parameter)}` | required | {parameter.help} |"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    value = f" {parameter.metavar}" if parameter.metavar else ""
    default = parameter.default
    shown = "" if default in {None, "", False} else f"`{default}`"
    return f"| {names}{value} | {shown} | {parameter.help.replace('|', '/')} |"


def _exit_codes() -> list[str]:
    meanings: dict[int, list[str]] = {0: ["done"], 2: ["wrong usage"], 130: ["interrupted"]}
    kinds: list[type[errors.CoppiceError]] = [errors.CoppiceError, *_below(errors.CoppiceError)]
    for kind in kinds:
        if "exit_code" in vars(kind):
            meanings.setdefault(kind.exit_code, []).append(f"`{kind.__name__}`")
    rows = [f"| {code} | {', '.join(names)} |" for code, names in sorted(meanings.items())]
    return ["## Exit codes", "", "| code | meaning |", "|---|---|", *rows]


def _below(kind: type[errors.CoppiceError]) -> Iterator[type[errors.CoppiceError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)
