from __future__ import annotations

from pathlib import Path

import pytest

from coppice import settings
from coppice_cli import reference

PAGES = Path(__file__).parents[3] / "docs" / "reference"
STALE = "run `python -m coppice_cli.reference docs/reference`"


def test_the_settings_page_is_up_to_date() -> None:
    assert (PAGES / "settings.md").read_text(encoding="utf-8") == reference.settings_page(), STALE


def test_the_schema_of_the_card_is_up_to_date() -> None:
    published = (PAGES / "card.schema.json").read_text(encoding="utf-8")
    assert published == reference.card_schema(), STALE


def test_every_page_is_written(tmp_path: Path) -> None:
    reference.main(tmp_path / "new")
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {"settings.md", "cli.md", "metrics.md", "card.schema.json"}


def test_every_section_of_the_settings_is_described() -> None:
    described = set(reference.sections())
    assert described == set(settings.Settings.model_fields) - {"root"}


@pytest.mark.parametrize("section", list(reference.sections()))
def test_every_setting_says_what_it_means(section: str) -> None:
    silent = [field.name for field in reference.fields(section) if not field.text]
    assert silent == []


def test_limits_are_part_of_the_type() -> None:
    (port,) = reference.fields("serve", ("port",))
    assert port.kind == "integer, at least 1, at most 65_535"


def test_choices_are_listed() -> None:
    (task,) = reference.fields("project", ("task",))
    assert task.kind == "`binary` or `multiclass` or `regression`"


@pytest.mark.parametrize(
    ("section", "name", "default"),
    [
        ("project", "name", '"..."'),
        ("project", "checkpoint", '"..."'),
        ("retrain", "enabled", "true"),
        ("decay", "false_alarm_labels", "10_000"),
        ("rollout", "steps", "[0.1, 0.5]"),
        ("events", "capture", "{}"),
        ("serve", "routing_key_secret", '"coppice"'),
        ("store", "home", '".coppice"'),
    ],
)
def test_defaults_are_written_as_in_the_file(section: str, name: str, default: str) -> None:
    (field,) = reference.fields(section, (name,))
    assert field.default == default
