"""What can be pruned by what: every level with every criterion on every kind of network.

A cell that is not named here works. One that is refused has its reason here, so that neither can
change in silence. `python -m tests.support.matrix` writes the tables into docs/pruning.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retrain.pruning import criteria, recipe
from tests.support import architectures

PAGE = Path(__file__).parents[2] / "docs" / "pruning.md"
OPEN, CLOSE = "<!-- matrix: made by python -m tests.support.matrix -->", "<!-- end of matrix -->"
ANY = "any"


class Refusal(NamedTuple):
    """Cells that are refused for one reason.

    Attributes
    ----------
    level, criterion, networks
        The cells; `ANY` stands for all criteria or networks.
    says
        What the error says.
    note
        What the page says of it.
    """

    level: str
    criterion: str
    networks: tuple[str, ...]
    says: str
    note: str


UNFIT = {
    "neuron": ("ablation", "block-influence"),
    "layer": ("bn-scale", "importance", "importance-sampled"),
    "connection": ("ablation", "block-influence", "bn-scale", "group-lasso"),
}
"""Criteria that do not rank what a level removes."""
NO_BLOCKS = ("bi-lstm", "gru", "lstm", "lstm-2-layers", "mlp", "recommender")
NORMED = ("residual-cnn", "depthwise-cnn")
"""Networks with a BatchNorm behind every layer that can be cut."""
REFUSED = (
    *(
        Refusal(
            level,
            criterion,
            (ANY,),
            f"{criterion} does not rank what level {level} removes; use it with level",
            "the criterion does not rank what this level removes",
        )
        for level, names in UNFIT.items()
        for criterion in names
    ),
    Refusal(
        "layer",
        ANY,
        NO_BLOCKS,
        "no block of this network can be left out",
        "no module of the network gives one tensor in the shape of what it reads",
    ),
    Refusal(
        "neuron",
        "bn-scale",
        tuple(name for name in architectures.ARCHITECTURES if name not in NORMED),
        "bn-scale ranks by the scales of BatchNorm, and there is none on the outputs of",
        "not every layer that could be cut has a BatchNorm behind it",
    ),
    *(
        Refusal(
            "connection",
            criterion,
            ("transformer", "attention-block"),
            "importance looks at what linear, convolutional and recurrent layers multiply",
            "it does not see what attention multiplies",
        )
        for criterion in ("importance", "importance-sampled")
    ),
)


class Cell(NamedTuple):
    """One use of a criterion at a level on a kind of network."""

    level: str
    criterion: str
    network: str


def cells() -> list[Cell]:
    """Return all cells."""
    return [
        Cell(level, criterion, network)
        for level in recipe.LEVELS
        for criterion in criteria.names()
        for network in architectures.ARCHITECTURES
    ]


def refusal(cell: Cell) -> Refusal | None:
    """Return why a cell is refused, if it is; the first reason that fits."""
    for each in REFUSED:
        fits = each.criterion in {ANY, cell.criterion} and (
            ANY in each.networks or cell.network in each.networks
        )
        if each.level == cell.level and fits:
            return each
    return None


def page() -> str:
    """Return the tables as Markdown."""
    notes = list(dict.fromkeys(each.note for each in REFUSED))
    parts = [table for level in recipe.LEVELS for table in _table(level, notes)]
    listed = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join([*parts, "Refused, because:", "", *listed])


def _table(level: str, notes: list[str]) -> Iterator[str]:
    names = list(architectures.ARCHITECTURES)
    yield f"Level `{level}`:"
    yield ""
    yield f"| | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for criterion in criteria.names():
        marks = [_mark(refusal(Cell(level, criterion, name)), notes) for name in names]
        yield f"| `{criterion}` | {' | '.join(marks)} |"
    yield ""


def _mark(found: Refusal | None, notes: list[str]) -> str:
    return "yes" if found is None else f"no ({notes.index(found.note) + 1})"


def written(text: str) -> str:
    """Return a page with the tables of now between its marks."""
    before, _, rest = text.partition(OPEN)
    _, _, after = rest.partition(CLOSE)
    return f"{before}{OPEN}\n\n{page()}\n\n{CLOSE}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
