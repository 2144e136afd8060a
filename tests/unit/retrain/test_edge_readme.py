from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from coppice import artifact
from retrain import edge_readme
from tests.support import coded


def written(folder: Path, codes: dict[str, artifact.Codes]) -> str:
    """Write the README of a file whose manifest tells these codes, and return it."""
    coded.lookup_classifier(folder / "shop")
    plain = artifact.read_manifest(folder / "shop")
    file = folder / "tiny-fp32.onnx"
    edge_readme.write(
        file,
        msgspec.structs.replace(plain, codes=codes),
        tag="tiny:0",
        precision="fp32",
        outputs=("scores",),
    )
    return edge_readme.beside(file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("codes", "said", "row"),
    [
        (
            {"item": artifact.Codes((0,), (4,))},
            "`item` int64 [rows, 2], codes from 0 to 4 (",
            'numpy.full((1, 2), 0, "int64")',
        ),
        # Nought is none of these, so the row to try it with holds the first that is.
        (
            {"item": artifact.Codes((1, 1), (4, 9))},
            "codes from [1, 1] to [4, 9] (",
            'numpy.full((1, 2), 1, "int64")',
        ),
        ({}, "`item` int64 [rows, 2].", 'numpy.zeros((1, 2), "int64")'),
    ],
)
def test_codes_that_the_graph_knows_are_told_and_tried(
    tmp_path: Path, codes: dict[str, artifact.Codes], said: str, row: str
) -> None:
    text = written(tmp_path, codes)
    assert said in text
    assert row in text
