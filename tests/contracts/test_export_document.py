"""What docs/export.md promises is what the settings and the command know."""

from __future__ import annotations

import re
import tomllib

from coppice import errors, settings
from retrain import edge
from tests.support import house

TEXT = (house.ROOT / "docs" / "export.md").read_text(encoding="utf-8")


def test_the_shown_settings_are_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    found = settings.PackSettings.model_validate(tomllib.loads(block)["pack"])
    assert (found.precision, found.engines) == ("auto", ("onnxruntime", "openvino"))


def test_the_limits_that_it_names_are_the_defaults() -> None:
    defaults = settings.PackSettings()
    assert f"`max_drop` ({100 * defaults.max_drop:.1f} points)" in TEXT
    assert f"`min_gain` ({defaults.min_gain})" in TEXT


def test_the_table_of_formats_is_that_of_the_command() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", TEXT, re.MULTILINE)
    assert {form: tuple(known.split(", ")) for form, known in rows} == dict(edge.PRECISIONS)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    assert "Exit codes: 2 for a precision" in TEXT
    assert "3 for an\nunknown version or a file that does not hold" in TEXT
    assert errors.UnknownVersion.exit_code == errors.ArtifactError.exit_code == 3
    assert "8 where OpenVINO is missing or the folder cannot be written" in TEXT
    assert errors.EngineMissing.exit_code == errors.EnvironmentProblem.exit_code == 8
