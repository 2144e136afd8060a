from __future__ import annotations

from monitoring.dashboards.panels import Board, Panel, Query, render


def panel(title: str, **fields: object) -> Panel:
    return Panel(title=title, text="A text.", queries=(Query("up"),), **fields)  # type: ignore[arg-type]


def board(*rows: tuple[Panel, ...], uid: str = "one") -> Board:
    return Board(uid=uid, title=uid.title(), text="A text.", rows=rows)


def test_panels_stand_beside_each_other_and_rows_below_each_other() -> None:
    tall = panel("tall", width=6, height=9)
    low = panel("low", width=18, height=4)
    below = panel("below", width=24, height=5)
    placed = render(board((tall, low), (below,)), [])["panels"]
    assert [each["gridPos"] for each in placed] == [
        {"x": 0, "y": 0, "w": 6, "h": 9},
        {"x": 6, "y": 0, "w": 18, "h": 4},
        # The row above is as tall as its tallest.
        {"x": 0, "y": 9, "w": 24, "h": 5},
    ]


def test_a_dashboard_does_not_link_to_itself() -> None:
    one, two = board(uid="one"), board(uid="two")
    assert [link["url"] for link in render(one, [one, two])["links"]] == ["/d/two"]


def test_queries_without_a_legend_name_their_series_themselves() -> None:
    (placed,) = render(board((panel("any"),)), [])["panels"]
    assert placed["targets"][0]["legendFormat"] == "__auto"


def test_a_line_is_drawn_where_the_threshold_is() -> None:
    (placed,) = render(board((panel("any", line=1.0),)), [])["panels"]
    defaults = placed["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert defaults["thresholds"]["steps"][1] == {"value": 1.0, "color": "red"}


def test_a_stat_shows_the_name_of_its_series_where_that_is_the_answer() -> None:
    (placed,) = render(board((panel("any", kind="stat", says="name"),)), [])["panels"]
    assert placed["options"]["textMode"] == "name"


def test_a_stat_with_thresholds_is_coloured_as_a_whole() -> None:
    steps = ((None, "green"), (1.0, "red"))
    (placed,) = render(board((panel("any", kind="stat", steps=steps),)), [])["panels"]
    assert placed["options"]["colorMode"] == "background"


def test_bounds_that_are_not_given_are_left_to_grafana() -> None:
    (placed,) = render(board((panel("any", low=0.0),)), [])["panels"]
    defaults = placed["fieldConfig"]["defaults"]
    assert defaults["min"] == 0.0
    assert "max" not in defaults


def test_a_table_gets_rows_instead_of_series() -> None:
    (placed,) = render(board((panel("any", kind="table"),)), [])["panels"]
    assert placed["targets"][0]["format"] == "table"
    assert placed["targets"][0]["instant"] is True
