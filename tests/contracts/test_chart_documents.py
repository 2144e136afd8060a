"""The values, files and addresses that the chart's documents show are ones that it takes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support import chart, house, manifests, manifests_security, readme, references, wiring

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

PAGES = ("docs/kubernetes.md", "helm/coppice/README.md")
RULES = (*manifests.RULES, *wiring.RULES, *manifests_security.RULES)


def blocks(page: str) -> list[dict[str, Any]]:
    """Return the values that a page shows."""
    text = (house.ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    return [chart.parse(block)[0] for block in found]


def over(base: Any, top: Any) -> Any:
    """Put values over others, as Helm does with a second file."""
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{name: over(base.get(name), part) for name, part in top.items()}}


SHOWN = [values for page in PAGES for values in blocks(page)]


@pytest.mark.parametrize("values", SHOWN, ids="-".join)
def test_values_that_are_shown_install_on_top_of_the_least(values: dict[str, Any]) -> None:
    found = chart.render(over(chart.values("minimal"), values))
    assert [told for rule in RULES for told in rule(found.objects)] == []
    assert list(references.missing(found.objects, found.values)) == []
    assert list(references.urls(found.objects, chart.NAMESPACE)) == []


def test_values_are_shown_for_every_way_to_move_traffic() -> None:
    backends = {values["rollout"]["backend"] for values in SHOWN if "rollout" in values}
    assert backends == {"argo", "flagger", "gateway"}


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_a_shown_command_names_is_there(page: str) -> None:
    text = (house.ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w.-])((?:helm|deploy|docs)/[\w./-]+\w)", text)
    assert named
    assert [path for path in named if not (house.ROOT / path).exists()] == []


def test_ready_made_values_that_are_named_are_there() -> None:
    text = (house.ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"([a-z0-9-]+)-values\.yaml", text))
    assert named <= set(chart.modes())
    assert len(named) > 4


@pytest.mark.parametrize("page", PAGES)
def test_a_linked_page_is_there(page: str) -> None:
    folder = (house.ROOT / page).parent
    assert [link for link in readme.links(page) if not (folder / link).exists()] == []
