from __future__ import annotations

import numpy as np
import pytest

from retrain.pruning import groups, schedule, surgery, units
from retrain.search import estimate
from tests.support import architectures, searching


def test_what_is_left_of_a_perceptron() -> None:
    model, rows = searching.build_model(), searching.split(8)
    coupled = units.couple(model, rows).groups
    found = estimate.Estimate(model, rows, coupled)
    # Whole 4*32 + 32*16 + 16*2 = 672; with 8 and 8 units 4*8 + 8*8 + 8*2 = 112.
    macs = found.macs({"0": np.array([32.0, 8.0]), "3": np.array([16.0, 8.0])}, 2)
    assert macs.tolist() == pytest.approx([672.0, 112.0])


def test_groups_that_are_left_out_stay_whole() -> None:
    model, rows = searching.build_model(), searching.split(8)
    found = estimate.Estimate(model, rows, units.couple(model, rows).groups)
    # 4*8 + 8*16 + 16*2 = 192.
    assert found.macs({"0": np.array([8.0])}, 1).tolist() == pytest.approx([192.0])


@pytest.mark.parametrize("kind", ["residual-cnn", "depthwise-cnn", "mlp", "recommender"])
def test_the_estimate_is_what_is_counted_of_the_cut_network(kind: str) -> None:
    made = architectures.ARCHITECTURES[kind]
    model, rows = made.model(), made.data().train
    coupled = units.couple(model, rows).groups
    half = {
        group.name: groups.kept_count(group.units, 0.5, blocks=group.blocks) for group in coupled
    }
    found = estimate.Estimate(model, rows, coupled)
    told = found.macs({name: np.array([float(count)]) for name, count in half.items()}, 1)
    kept = [(group, tuple(range(half[group.name]))) for group in coupled]
    surgery.replay(model, surgery.plan(model, kept))
    assert told.tolist() == pytest.approx([schedule.cost(model, rows).macs])
