from __future__ import annotations

from pathlib import Path

import pytest

from coppice import errors, routing

FULL = routing.RoutingTable(
    generation=7,
    model="digits",
    champion="digits:a",
    candidate="digits:b",
    previous="digits:c",
    parent="digits:d",
    weight=0.25,
    mirror=1.0,
    parent_mirror=0.05,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "routing.json"


def test_a_table_comes_back_as_it_was_saved(path: Path) -> None:
    routing.save(path, FULL)

    assert routing.load(path) == FULL


def test_there_is_no_table_before_the_first_is_saved(path: Path) -> None:
    assert routing.load(path) is None


def test_a_saved_table_takes_the_place_of_the_old_one(path: Path) -> None:
    routing.save(path, FULL)
    plain = routing.RoutingTable(generation=8, model="digits", champion="digits:b")

    routing.save(path, plain)

    assert routing.load(path) == plain
    assert [file.name for file in path.parent.iterdir()] == ["routing.json"]


def test_a_plain_table_sends_everything_to_the_champion() -> None:
    table = routing.RoutingTable(model="digits", champion="digits:a")

    assert (table.candidate, table.weight, table.mirror, table.parent_mirror) == (None, 0, 0, 0)


@pytest.mark.parametrize("field", ["weight", "mirror", "parent_mirror"])
@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_outside_of_0_and_1_is_refused(field: str, share: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is .* share lies in"):
        routing.RoutingTable(model="m", champion="m:a", candidate="m:b", **{field: share})  # type: ignore[arg-type]


def test_a_weight_without_a_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no candidate"):
        routing.RoutingTable(model="m", champion="m:a", weight=0.1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"model": "m"}',
        b'{"model": "m", "champion": "m:a", "weight": 2.0}',
        b'{"model": "m", "champion": "m:a", "weight": 0.5}',
        b'{"model": "m", "champion": 3}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_no_table_says_what_to_do(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(errors.EnvironmentProblem, match="remove it or restore it"):
        routing.load(path)


def test_a_table_of_a_newer_schema_asks_for_an_upgrade(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"schema": 2, "routes": []}')

    with pytest.raises(errors.EnvironmentProblem, match=r"schema 2, this version reads 1; upgrade"):
        routing.load(path)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_table_that_is_handed_to_us_may_not_be_there_yet(path: Path, content: bytes) -> None:
    assert routing.load_handed(path) is None
    path.parent.mkdir()
    path.write_bytes(content)

    assert routing.load_handed(path) is None
    with pytest.raises(errors.EnvironmentProblem, match="is not a routing table"):
        routing.load(path)


def test_what_is_handed_to_us_is_read_like_what_we_wrote(path: Path) -> None:
    table = routing.RoutingTable(model="digits", champion="digits:1")
    routing.save(path, table)

    assert routing.load_handed(path) == table
