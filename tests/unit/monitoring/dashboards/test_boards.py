"""The dashboards are what Grafana imports: structure, variables, and no two panels in one place."""

from __future__ import annotations

import itertools
import json
import runpy
import sys

import pytest

from monitoring.dashboards import boards, panels
from tests.support import house

FOLDER = house.ROOT / "monitoring" / "dashboards"
STALE = "run `python -m monitoring.dashboards monitoring/dashboards`"
FILES = boards.files()
NAMES = [
    "overview.json",
    "rollout.json",
    "quality.json",
    "serving.json",
    "joining.json",
    "sharing.json",
]
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in FILES.items()
    for panel in board["panels"]
]
KINDS = {"stat", "timeseries", "bargauge", "table"}
UNITS = {"short", "percentunit", "s", "reqps"}


def test_there_is_one_for_each_question() -> None:
    assert list(FILES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_file_is_up_to_date(name: str) -> None:
    assert json.loads((FOLDER / name).read_text(encoding="utf-8")) == FILES[name], STALE


def test_the_folder_holds_no_other_dashboard() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(NAMES)


def test_every_file_is_written(tmp_path) -> None:
    written = boards.write(tmp_path)
    assert [path.name for path in written] == NAMES
    assert json.loads(written[0].read_text(encoding="utf-8")) == FILES["overview.json"]


def test_the_module_writes_into_the_folder_that_it_is_given(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["monitoring.dashboards", str(tmp_path)])
    runpy.run_module("monitoring.dashboards", run_name="__main__")
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_what_an_import_needs(name: str) -> None:
    board = FILES[name]
    assert board["uid"] == f"coppice-{name.removesuffix('.json')}"
    assert board["schemaVersion"] == panels.SCHEMA_VERSION
    # Grafana gives the id; one of ours would overwrite somebody's dashboard.
    assert "id" not in board
    assert len(board["uid"]) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_source_and_model_are_variables(name: str) -> None:
    source, model = FILES[name]["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert (model["name"], model["type"]) == ("model", "query")
    assert model["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", NAMES)
def test_each_dashboard_links_to_the_three_others(name: str) -> None:
    linked = {link["url"] for link in FILES[name]["links"]}
    others = {f"/d/{FILES[other]['uid']}" for other in NAMES} - {f"/d/{FILES[name]['uid']}"}
    assert linked == others


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique(name: str) -> None:
    ids = [panel["id"] for panel in FILES[name]["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", NAMES)
def test_the_top_row_is_six_numbers(name: str) -> None:
    top = [panel for panel in FILES[name]["panels"] if panel["gridPos"]["y"] == 0]
    assert [panel["type"] for panel in top] == ["stat"] * 6


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_as_wide_as_the_screen(name: str) -> None:
    places = [panel["gridPos"] for panel in FILES[name]["panels"]]
    tops = {place["y"] for place in places}
    widths = {top: sum(p["w"] for p in places if p["y"] == top) for top in tops}
    assert set(widths.values()) == {panels.COLUMNS}


@pytest.mark.parametrize("name", NAMES)
def test_no_two_panels_overlap(name: str) -> None:
    places = [panel["gridPos"] for panel in FILES[name]["panels"]]
    overlapping = [
        (a, b)
        for a, b in itertools.combinations(places, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlapping == []


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit(panel) -> None:
    assert panel["type"] in KINDS
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_the_chosen_source_about_the_chosen_model(panel) -> None:
    assert panel["datasource"]["uid"] == "${datasource}"
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert all('model=~"$model' in target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_queries_of_a_panel_are_told_apart(panel) -> None:
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == ["A", "B", "C", "D"][: len(letters)]


@pytest.mark.parametrize("panel", PANELS)
def test_numbers_are_asked_for_once_and_lines_over_time(panel) -> None:
    lines = panel["type"] == "timeseries"
    assert {target["range"] for target in panel["targets"]} == {lines}
    assert {target["instant"] for target in panel["targets"]} == {not lines}


@pytest.mark.parametrize("panel", PANELS)
def test_thresholds_begin_from_below_and_grow(panel) -> None:
    first, *rest = [
        step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    ]
    assert first is None
    assert rest == sorted(rest)
