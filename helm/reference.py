"""What the chart says about itself, made from what it is made of: `python helm/reference.py`.

The table of values in its README comes from the comments of `values.yaml`; the part of
`values.schema.json` that closes `config` comes from the settings, so that a typo in a release is
found before a pod starts. A test fails when either is stale.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from coppice import settings

CHART = Path(__file__).resolve().parent / "coppice"
BEGIN, END = "<!-- values: made by `python helm/reference.py` -->", "<!-- end of values -->"

OWN = {
    "store": {"home", "registry", "folder", "bucket", "prefix", "endpoint", "region"},
    "serve": {"host", "port", "routing_file", "initial"},
    "events": {"backend"},
    "kafka": {
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
        "relay_metrics_port",
        "follow_metrics_port",
    },
    "monitor": {"host", "port"},
    "metrics": {"host"},
    "retrain": {"metrics_port"},
    "rollout": {"backend", "host", "port", "token_file"},
    "cluster": {
        "kubeconfig",
        "namespace",
        "workload",
        "template",
        "write_back",
        "candidate",
        "lease",
    },
}
"""Settings that the chart decides itself, by table."""
NEEDED = {"project": ["name"], "kafka": ["servers"]}
"""Settings without which there is nothing to install, by table."""

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):")


class Value(NamedTuple):
    """A line of the table."""

    path: str
    default: Any
    text: str


def values() -> list[Value]:
    """Return the values that have a comment beginning with `# --`, in their order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    above: list[tuple[int, str]] = []
    told: list[str] = []
    for line in text.splitlines():
        comment = line.strip()
        if comment.startswith("#"):
            told = [comment] if comment.startswith("# --") else [*told, comment] if told else []
            continue
        match = _KEY.match(line)
        if match is not None:
            depth = len(match["indent"])
            above = [*((deep, key) for deep, key in above if deep < depth), (depth, match["key"])]
            if told:
                path = [key for _, key in above]
                words = " ".join(part.lstrip("#- ") for part in told)
                found.append(Value(".".join(path), _at(defaults, path), words))
        told = []
    return found


def table() -> str:
    """Return the table of values, as Markdown."""
    rows = [
        f"| `{value.path}` | {_code(value.default)} | {value.text.replace('|', '&#124;')} |"
        for value in values()
    ]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def readme() -> str:
    """Return the README with a fresh table between its marks."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def config_schema() -> dict[str, Any]:
    """Return the schema of `config`: every setting but our own and those that are secret."""
    whole = settings.Settings.model_json_schema()
    tables = {
        name: _table(name, _defined(part, whole), whole)
        for name, part in whole["properties"].items()
        if "$ref" in part
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(NEEDED),
        "properties": tables,
    }


def schema() -> str:
    """Return `values.schema.json` with a fresh part for `config`, and for where the bucket is."""
    text = (CHART / "values.schema.json").read_text(encoding="utf-8")
    tree = json.loads(text)
    tree["$defs"]["config"] = config_schema()
    bucket = tree["properties"]["store"]["properties"]["s3"]["properties"]
    store = settings.Settings.model_json_schema()["$defs"]["StoreSettings"]["properties"]
    for field in ("bucket", "prefix", "endpoint", "region"):
        bucket[field]["pattern"] = store[field]["pattern"]
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both anew."""
    (CHART / "values.schema.json").write_text(schema(), encoding="utf-8")
    (CHART / "README.md").write_text(readme(), encoding="utf-8")


def _defined(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["$defs"][part["$ref"].rpartition("/")[2]]
    return found


def _table(name: str, section: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    own = OWN.get(name, set())
    fields = {
        field: _field(part, whole)
        for field, part in section["properties"].items()
        if field not in own and not part.get("writeOnly")
    }
    for field in NEEDED.get(name, []):
        fields[field] = {**fields[field], "minLength": 1}
    needed = {"required": NEEDED[name]} if name in NEEDED else {}
    return {"type": "object", "additionalProperties": False, **needed, "properties": fields}


def _field(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Drop what says nothing to a validator; a value that is left out needs no null."""
    kept = {key: value for key, value in part.items() if key not in {"default", "title"}}
    choices = kept.pop("anyOf", None)
    if choices is not None:
        (choice,) = (choice for choice in choices if choice.get("type") != "null")
        kept = {**choice, **kept}
    kept.pop("format", None)
    if "$ref" in kept.get("items", {}):
        kept["items"] = _table("", _defined(kept["items"], whole), whole)
    kept["description"] = " ".join(kept["description"].split())
    return kept


def _at(tree: Any, path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _code(default: Any) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`"


if __name__ == "__main__":
    main()
