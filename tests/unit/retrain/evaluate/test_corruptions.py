from __future__ import annotations

import numpy as np
import pytest
import torch

from retrain.evaluate import corruptions, domain
from tests.support import subjects

BY_NAME = {kind.name: kind for kind in corruptions.CORRUPTIONS}


def scans() -> torch.Tensor:
    return torch.from_numpy(subjects.scans().data.holdout.inputs["pixels"][:64])


def corrupted(name: str, severity: float, seed: int = 0) -> torch.Tensor:
    land = domain.survey(subjects.scans().training)
    return corruptions.apply(BY_NAME[name], {"pixels": scans()}, land, severity, seed)["pixels"]


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def flat(low: float, high: float) -> domain.Terrain:
    ends = torch.tensor(low), torch.tensor(high)
    return domain.Terrain(
        kind="picture", low=ends[0], high=ends[1], unit=ends[1] - ends[0], typical=ends[0]
    )


@pytest.mark.parametrize("name", ["noise", "blur", "contrast", "brighter", "darker"])
def test_pictures_change_keep_their_shape_and_stay_within_what_training_has_seen(
    name: str,
) -> None:
    changed = corrupted(name, BY_NAME[name].severities[0])
    assert changed.shape == scans().shape
    assert changed.dtype == torch.float32
    assert not torch.equal(changed, scans())
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS, ids=lambda kind: kind.name)
def test_every_corruption_starts_mild(kind: corruptions.Corruption) -> None:
    assert list(kind.severities) == sorted(kind.severities)


def test_the_same_seed_does_the_same_damage_and_another_does_not() -> None:
    assert torch.equal(corrupted("noise", 0.1), corrupted("noise", 0.1))
    assert not torch.equal(corrupted("noise", 0.1), corrupted("noise", 0.1, seed=1))


def test_noise_has_the_stated_deviation() -> None:
    zeros = torch.zeros(2, 1, 100, 100)
    wide = corruptions.noise(zeros, flat(-10.0, 10.0), 0.1, random())
    # A tenth of a range of 20; 20,000 draws are sure to about one percent.
    assert float(wide.std()) == pytest.approx(2.0, rel=0.03)


def test_a_blur_keeps_a_flat_picture_and_spreads_a_dot() -> None:
    plain = torch.full((1, 1, 9, 9), 0.5)
    assert torch.allclose(corruptions.blur(plain, flat(0, 1), 1.0, random()), plain)
    dot = torch.zeros(1, 1, 9, 9)
    dot[0, 0, 4, 4] = 1.0
    spread = corruptions.blur(dot, flat(0, 1), 1.0, random())
    # The middle of a normal curve cut at three deviations, squared: (1 / 2.5066)^2.
    assert float(spread[0, 0, 4, 4]) == pytest.approx((1 / 2.5066) ** 2, rel=0.01)
    assert float(spread.sum()) == pytest.approx(1.0, rel=1e-5)


def test_contrast_is_pulled_towards_each_pictures_own_mean() -> None:
    picture = torch.tensor([[[[0.0, 1.0]]], [[[0.4, 0.8]]]])
    pulled = corruptions.contrast(picture, flat(0, 1), 0.5, random())
    # Means 0.5 and 0.6; half of the way there.
    assert torch.allclose(pulled, torch.tensor([[[[0.25, 0.75]]], [[[0.5, 0.7]]]]))


def test_light_is_clipped_at_what_training_has_seen() -> None:
    picture = torch.tensor([[[[0.0, 0.9]]]])
    assert corruptions.brightness(picture, flat(0, 1), 0.2, random()).flatten().tolist() == (
        pytest.approx([0.2, 1.0])
    )
    assert corruptions.darkness(picture, flat(0, 1), 0.2, random()).flatten().tolist() == (
        pytest.approx([0.0, 0.7])
    )


def test_missing_values_are_replaced_by_typical_ones() -> None:
    subject = subjects.tumours()
    rows = torch.from_numpy(subject.data.holdout.inputs["values"])
    land = domain.survey(subject.training)
    changed = corruptions.apply(BY_NAME["missing, imputed"], {"values": rows}, land, 0.3, 0)
    lost = changed["values"] != rows
    # 329 rows of 30 columns: 9,870 cells, sure to 1.4 points.
    assert float(lost.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(changed["values"][lost], land["values"].typical.expand_as(rows)[lost])


def test_other_kinds_of_inputs_are_left_alone() -> None:
    rows = {"values": torch.randn(4, 30), "codes": torch.arange(4)}
    land = domain.survey(subjects.tumours().training)
    changed = corruptions.apply(BY_NAME["blur"], rows, land, 1.0, 0)
    assert all(changed[name] is rows[name] for name in rows)


def test_no_rows_are_changed_in_place() -> None:
    before = np.array(subjects.scans().data.holdout.inputs["pixels"][:64])
    corrupted("brighter", 0.2)
    assert np.array_equal(subjects.scans().data.holdout.inputs["pixels"][:64], before)
