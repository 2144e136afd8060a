"""Every command that the documents show is one that the program understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from coppice_cli import main
from tests.support import house, readme

DOCUMENTS = sorted(
    str(path.relative_to(house.ROOT))
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in house.ROOT.glob(pattern)
)


def _shown() -> Iterator[tuple[str, tuple[str, ...]]]:
    for document in DOCUMENTS:
        for words in readme.commands("coppice", document):
            yield document, tuple(words[1:])


SHOWN = sorted(set(_shown()))


def _command(words: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Walk down the groups, and return the command with what is left of the words."""
    command: Any = typer.main.get_command(main.app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize(("document", "words"), SHOWN, ids=lambda value: "".join(value)[:60])
def test_a_shown_command_exists_with_its_options(document: str, words: tuple[str, ...]) -> None:
    command, rest = _command(words)
    known = {name for parameter in command.params for name in parameter.opts}
    known |= {name for parameter in command.params for name in parameter.secondary_opts}
    assert not hasattr(command, "commands"), f"{document}: no such command {' '.join(words)}"
    assert {word for word in rest if word.startswith("-")} <= known | {"--help"}


def test_the_documents_show_commands() -> None:
    assert {words[0] for _, words in SHOWN} >= {"init", "doctor", "prune", "up", "status"}


def test_every_document_that_is_linked_is_there() -> None:
    missing = [
        f"{document}: {target}"
        for document in DOCUMENTS
        for target in readme.links(document)
        if not (house.ROOT / Path(document).parent / target).exists()
    ]
    assert missing == []
