from __future__ import annotations

from monitoring.dashboards import shared


def test_a_quantile_is_taken_over_all_workers_and_lanes_but_the_label() -> None:
    assert shared.quantile(0.99, "coppice_request_seconds", "lane") == (
        "histogram_quantile(0.99, sum by (lane, le) "
        '(rate(coppice_request_seconds_bucket{model=~"$model"}[$__rate_interval])))'
    )


def test_a_tile_is_a_sixth_of_the_width_unless_told_otherwise() -> None:
    tile = shared.stat("Any", "A text.", "up", unit="s", legend="{{kind}}")
    assert (tile.kind, tile.width, tile.height, tile.unit) == ("stat", 4, 4, "s")
    assert tile.queries[0].legend == "{{kind}}"
