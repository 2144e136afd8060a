from __future__ import annotations

from coppice_cli import search_view
from retrain.search import forecast, probes
from tests.support import searching


def probe() -> probes.Probe:
    return probes.Probe(
        score=0.89,
        control=0.91,
        drop=0.02,
        low=0.01,
        high=0.03,
        expected=forecast.Forecast(
            loss=0.005, low=-0.001, high=0.011, left=0.2, control_gain=0.004
        ),
        worst_slice="",
        slice_drop=0.0,
        slice_low=0.0,
        surgery="",
    )


def test_what_was_lost_is_told_from_what_is_expected_and_from_what_is_left_to_measure() -> None:
    # The wish's probes take 2 passes over at most 400 rows, its recipe's recovery 10 passes.
    short, expected, end = search_view.losses(probe(), searching.wish())
    assert short == (
        "lost after the short recovery (measured, 2 passes over at most 400 rows): +2.00 points "
        "(+1.00 to +3.00); score 89.0%, dense trained as long 91.0%"
    )
    assert expected == (
        "expected after the whole recovery (a forecast, 10 passes over all training rows): +0.50 "
        "points (-0.10 to +1.10); by then dense, too, usually gains +0.40"
    )
    assert end.startswith("lost in the end: a search does not measure it; `coppice prune`")
