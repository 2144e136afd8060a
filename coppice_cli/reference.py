"""The reference pages, made from the code that they describe.

`python -m coppice_cli.reference docs/reference` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from coppice import settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

NOTE = "<!-- Made by `python -m coppice_cli.reference docs/reference`; edit the code instead. -->"


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting, as a reader needs it."""

    name: str
    kind: str
    default: str
    """As TOML; `...` where there is none, or where it is to be left out."""
    text: str
    """What it means, in one paragraph."""


def sections() -> dict[str, type[settings.Section]]:
    """Return the tables of `coppice.toml` in their order."""
    return {
        name: info.annotation
        for name, info in settings.Settings.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, settings.Section)
    }


def fields(section: str, names: tuple[str, ...] = ()) -> list[Field]:
    """Describe the fields of one section, all of them or those named.

    >>> [field.default for field in fields("serve", ("port", "host"))]
    ['3000', '"127.0.0.1"']
    """
    known = sections()[section].model_fields
    return [_field(name, known[name]) for name in names or tuple(known)]


def wrap(text: str, width: int) -> list[str]:
    """Break a paragraph into lines, never inside a word."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        NOTE,
        "",
        *wrap(
            "Settings are read from `coppice.toml`, then from the environment: "
            "`COPPICE_SERVE__PORT=8080` is `port = 8080` under `[serve]`. An unknown key is an "
            "error that names the nearest known one. `coppice doctor` checks them all.",
            100,
        ),
    ]
    for name, section in sections().items():
        lines += ["", f"## [{name}]", "", inspect.getdoc(section) or ""]
        lines += ["", "| setting | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{field.name}` | {field.kind} | `{field.default}` | {field.text} |"
            for field in fields(name)
        ]
    return "\n".join(lines) + "\n"


def card_schema() -> str:
    """Return docs/reference/card.schema.json: what a program may expect of a `card.json`."""
    from retrain import card

    return json.dumps(card.json_schema(), indent=2, ensure_ascii=False) + "\n"


def _field(name: str, info: FieldInfo) -> Field:
    text = " ".join((info.description or "").split())
    return Field(name, _kind(info), _toml(info), text.replace("|", "\\|"))


def _toml(info: FieldInfo) -> str:
    default = None if info.is_required() else info.get_default()
    return '"..."' if default is None else _value(default)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:_}" if value >= 10_000 else repr(value)
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            return "{}"
        case pydantic.SecretStr():
            return _value(value.get_secret_value())
        case _:
            return json.dumps(str(value))


def _kind(info: FieldInfo) -> str:
    return _annotation(info.annotation) + "".join(f", {limit}" for limit in _limits(info))


def _annotation(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_annotation(each) for each in arguments if each is not type(None))
    if origin is tuple:
        return f"list of {_annotation(arguments[0])}"
    if origin is dict:
        return f"table of {_annotation(arguments[1])}"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    name: str = annotation.__name__
    return names.get(name, name.removesuffix("Str").lower())


def _limits(info: FieldInfo) -> list[str]:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return [
        f"{words} {_value(getattr(limit, sign))}"
        for limit in info.metadata
        for sign, words in signs.items()
        if getattr(limit, sign, None) is not None
    ]


def main(folder: Path) -> None:
    """Write every page into a folder."""
    from coppice_cli import command_reference, metric_reference

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "cli.md").write_text(command_reference.page(), encoding="utf-8")
    (folder / "card.schema.json").write_text(card_schema(), encoding="utf-8")
    (folder / "metrics.md").write_text(metric_reference.page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
