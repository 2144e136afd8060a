"""The chart, rendered by the real Helm engine, one release for each file of values in its ci/."""

from __future__ import annotations

import copy
import functools
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support import house

FOLDER = house.ROOT / "helm" / "coppice"
NAME, NAMESPACE = "shop", "models"
"""Release and namespace of every render; neither is a word of the chart, so that none hides."""

ABSENT = "helm-python-sdk has no wheel for this machine"

Object = dict[str, Any]


class Release(NamedTuple):
    """What one file of values becomes."""

    values: Object
    """The chart's own values with those of the file over them."""
    texts: dict[str, str]
    """What each template gave, by its path in the chart."""
    objects: tuple[Object, ...]


class Strict(yaml.CSafeLoader):
    """A loader that refuses a key that comes twice; a cluster would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature of what it overrides
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            message = f"{', '.join(twice)} comes twice, {node.start_mark}"
            raise yaml.YAMLError(message)
        return super().construct_mapping(node, deep)


def installed() -> bool:
    """Say whether there is a Helm engine for this machine."""
    return importlib.util.find_spec("helm_python") is not None


def engine() -> Any:
    """Return the Helm engine; skips where there is none for this machine."""
    return pytest.importorskip(
        "helm_python", reason="helm-python-sdk has no wheel for this machine"
    )


def modes(folder: Path = FOLDER) -> list[str]:
    """Return the names of the files of values, without their ending."""
    return sorted(
        path.name.removesuffix("-values.yaml") for path in (folder / "ci").glob("*-values.yaml")
    )


def values(mode: str, folder: Path = FOLDER) -> Object:
    """Return one file of values."""
    found: Object = parse((folder / "ci" / f"{mode}-values.yaml").read_text(encoding="utf-8"))[0]
    return found


def changed(mode: str, **places: Any) -> Object:
    """Return one file of values with some of them set; `a__b=1` sets `a.b`."""
    chosen = copy.deepcopy(values(mode))
    for place, value in places.items():
        *tables, last = place.split("__")
        table = chosen
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    return chosen


@functools.cache
def release(mode: str, folder: Path = FOLDER) -> Release:
    """Render one file of values; the result is shared, so nobody may change it."""
    return render(values(mode, folder), folder)


def render(chosen: Object, folder: Path = FOLDER, **options: Any) -> Release:
    """Render values and parse every output; `options` go to the engine."""
    with engine().Chart.load(str(folder)) as chart:
        chart.validate_schema(chosen)
        texts = chart.render(chosen, **{"name": NAME, "namespace": NAMESPACE, **options})
        merged = chart.merge_values(chosen)
    made = [
        found
        for path, text in sorted(texts.items())
        if not path.endswith("NOTES.txt")
        for found in parse(text)
    ]
    return Release(merged, texts, tuple(made))


def parse(text: str) -> list[Object]:
    """Return the documents of a YAML text that hold something."""
    return [found for found in yaml.load_all(text, Loader=Strict) if found is not None]


def findings(chosen: Object, folder: Path = FOLDER, *, cluster: str | None = None) -> list[str]:
    """Return what `helm lint --strict` has to say, warnings too."""
    report = engine().lint(
        str(folder), chosen, strict=True, namespace=NAMESPACE, kube_version=cluster
    )
    told = [f"{each['path']}: {each['error']}" for each in report["messages"] if heavy(each)]
    return [*told, *report["errors"]]


def heavy(message: Object) -> bool:
    """Say whether a message of lint is a warning (2) or an error (3)."""
    return int(message["severity"]) >= 2


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [found for found in objects if found["kind"] in kinds]


def named(found: Release, kind: str, part: str) -> Object:
    """Return the object of a kind whose name ends with a part."""
    (wanted,) = [
        each for each in of_kind(found.objects, kind) if each["metadata"]["name"].endswith(part)
    ]
    return wanted
