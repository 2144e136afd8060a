from __future__ import annotations

from pathlib import Path

import pytest

from coppice_cli import command_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


@pytest.fixture(scope="module")
def page() -> str:
    return command_reference.page()


def test_the_page_is_up_to_date(page: str) -> None:
    stale = "run `python -m coppice_cli.reference docs/reference`"
    assert PAGE.read_text(encoding="utf-8") == page, stale


def test_every_command_is_on_the_page_once(page: str) -> None:
    headings = [line for line in page.splitlines() if line.startswith("## coppice ")]
    assert {"## coppice rollout promote", "## coppice log tail", "## coppice up"} <= set(headings)
    assert len(headings) == len(set(headings))


def test_arguments_are_shown_in_the_usage(page: str) -> None:
    assert "    coppice labels give [OPTIONS] REQUEST LABEL..." in page
    assert "| `REQUEST` | required | The request's id. |" in page


def test_options_are_shown_with_both_names_and_their_default(page: str) -> None:
    assert "| `--limit`, `-n` | `20` | How many events. |" in page


def test_a_paragraph_of_help_becomes_one(page: str) -> None:
    help_texts = [line for line in page.splitlines() if line.startswith("Train or load")]
    assert len(help_texts) == 1
    assert "but never rolled out; the exit code is then 4." in help_texts[0]


def test_exit_codes_are_those_of_the_errors(page: str) -> None:
    codes = page[page.index("## Exit codes") :].splitlines()[4:]
    assert codes == [
        "| 0 | done |",
        "| 1 | `CoppiceError` |",
        "| 2 | wrong usage, `SettingsError`, `ProjectError`, `InputError` |",
        "| 3 | `ArtifactError`, `UnknownVersion` |",
        "| 4 | `GateRefused` |",
        "| 5 | `EventLogError` |",
        "| 6 | `PruningError` |",
        "| 7 | `RolloutError` |",
        "| 8 | `EngineMissing`, `EnvironmentProblem` |",
        "| 9 | `RelayStuck`, `FollowerStuck`, `MemberStuck` |",
        "| 130 | interrupted |",
    ]
