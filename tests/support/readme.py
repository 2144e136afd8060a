"""Read the commands that the documentation shows, so that tests can run them."""

from __future__ import annotations

import re
import shlex

from tests.support import house


def console_lines(document: str = "README.md") -> list[str]:
    """Return every line of a console block that starts with a prompt, without the prompt."""
    text = (house.ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def commands(program: str, document: str = "README.md") -> list[list[str]]:
    """Return the words of every shown command of a program, without its comment."""
    split = [shlex.split(line, comments=True) for line in console_lines(document)]
    return [words for words in split if words[0] == program]


def links(document: str) -> list[str]:
    """Return the targets of the links to files, without their anchors."""
    text = (house.ROOT / document).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [target for target in targets if target and "://" not in target]
