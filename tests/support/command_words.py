"""Whether the words of a command line are ones that the program understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from coppice_cli import main

_CALL = re.compile(
    r"""(?:^|[;&|(])[ \t]*coppice((?:[ \t]+(?:"[^"]*"|'[^']*'|[^\s"'|;&<>()]+))+)""", re.MULTILINE
)
"""The program's name where a command begins, then words and quoted words."""


def complaint(words: Sequence[str]) -> str:
    """Say what is wrong with the words behind `coppice`, or nothing.

    >>> complaint(["gate", "candidate", "--format", "junit"]), complaint(["fly"])
    ('', 'there is no command `coppice fly`')
    """
    command: Any = typer.main.get_command(main.app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if hasattr(command, "commands"):
        return f"there is no command `coppice {' '.join(words)}`"
    known = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in known]
    return f"`coppice {' '.join(words)}` has no option {unknown[0]}" if unknown else ""


def in_script(script: str) -> Iterator[list[str]]:
    """Return the words behind each `coppice` of a shell script, without redirections.

    >>> list(in_script('id=$(coppice log tail | tail -1) && coppice gate "$id" > a || true'))
    [['log', 'tail'], ['gate', '$id']]
    """
    for found in _CALL.finditer(script.replace("\\\n", " ")):
        yield shlex.split(found[1])
