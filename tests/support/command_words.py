"""Whether the words of a command line are ones that the program understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from coppice_cli import main


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
    """Return the words behind each `coppice` of a shell script.

    >>> list(in_script("set -e\\ncoppice gate candidate > out.xml || exit 1"))
    [['gate', 'candidate']]
    """
    joined = re.sub(r"\\\n\s*", " ", script)
    for line in joined.splitlines():
        for part in re.split(r"&&|\|\||[;|]", line):
            words = shlex.split(part.partition(">")[0], comments=True)
            # Programs that start others: the words before ours are theirs.
            if "coppice" in words[:2]:
                yield words[words.index("coppice") + 1 :]
