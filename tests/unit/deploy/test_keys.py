"""Who may ask for something, and who is refused how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from deploy import keys

RIGHT = {"authorization": "Bearer s3cret"}


def key(root: Path = Path("/nowhere"), **rollout: Any) -> keys.Key:
    return keys.Key(settings.from_tree({"project": {"name": "m"}, "rollout": rollout}, root=root))


def test_on_loopback_everybody_may_ask_until_there_is_a_token() -> None:
    key().check({})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "controller.example"])
def test_where_others_can_ask_a_token_must_be_set(host: str) -> None:
    with pytest.raises(errors.Forbidden, match=r"rollout\.token"):
        key(host=host).check(RIGHT)


def test_a_page_in_a_browser_may_not_ask_without_a_token() -> None:
    with pytest.raises(errors.Forbidden, match="browser"):
        key().check({"origin": "https://example.org"})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_who_knows_the_token_may_ask(host: str) -> None:
    key(host=host, token="s3cret").check(RIGHT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer s3cre"},
        {"authorization": "Bearer s3crets"},
        {"authorization": "Basic s3cret"},
        {"authorization": "s3cret"},
        {"authorization": "Bearer s\u00e9cret"},
    ],
)
def test_who_does_not_know_it_may_not_even_on_loopback(headers: dict[str, str]) -> None:
    with pytest.raises(errors.Unauthorized):
        key(token="s3cret").check(headers)


def test_a_token_that_was_replaced_in_its_file_counts_at_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    made = key(tmp_path, host="0.0.0.0", token_file="token")
    made.check({"authorization": "Bearer old"})
    (tmp_path / "token").write_text("new\n")
    made.check({"authorization": "Bearer new"})
    with pytest.raises(errors.Unauthorized):
        made.check({"authorization": "Bearer old"})


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_token_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(errors.Forbidden):
        key(tmp_path, token_file="token").check({})


def test_a_file_that_is_not_there_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(errors.Forbidden):
        key(tmp_path, token_file="token").check({"authorization": "Bearer "})


def test_the_token_is_shown_nowhere() -> None:
    tree = settings.from_tree(
        {"project": {"name": "m"}, "rollout": {"token": "s3cret"}}, root=Path("/nowhere")
    )
    assert "s3cret" not in repr(tree)
