from __future__ import annotations

import numpy as np

from coppice_cli.demo import world

INK = np.full((2, 1, 8, 8), 0.8, dtype=np.float32)
DIGITS = np.array([3, 7])


def test_the_same_number_gives_the_same_scan() -> None:
    worn = world.World(scanner="worn", last=2)
    first = world.scan(worn, INK, DIGITS, seed=5)
    second = world.scan(worn, INK, DIGITS, seed=5)
    assert first.digit == second.digit
    np.testing.assert_array_equal(first.pixels, second.pixels)


def test_only_the_scans_of_the_given_range_are_drawn() -> None:
    second_row = world.World(first=1, last=2)
    drawn = {world.scan(second_row, INK, DIGITS, seed=seed).digit for seed in range(20)}
    assert drawn == {7}


def test_microfilm_is_a_negative() -> None:
    film = world.scan(world.World(film_share=1.0, last=2), INK, DIGITS, seed=0)
    assert film.medium == "film"
    # 1 - 0.8 = 0.2 everywhere
    np.testing.assert_allclose(film.pixels, 0.2, atol=1e-6)


def test_a_worn_lamp_halves_the_contrast_and_adds_noise() -> None:
    pixels = np.full((1, 100, 100), 0.8, dtype=np.float32)
    seen = world.worn(pixels, np.random.default_rng(0))
    # The mean is 0.8 / 2; 10,000 pixels of standard deviation 0.12 have a standard error of 0.0012,
    # and 0.4 lies 3.3 standard deviations above 0, so that clipping moves the mean by less.
    np.testing.assert_allclose(seen.mean(), 0.4, atol=0.005)
    np.testing.assert_allclose(seen.std(), 0.12, atol=0.005)


def test_scans_stay_within_the_range_of_the_scanner() -> None:
    seen = world.worn(np.zeros((1, 50, 50), dtype=np.float32), np.random.default_rng(0))
    assert seen.min() == 0.0
    assert seen.max() <= 1.0


def test_a_good_scanner_delivers_the_scan_as_it_is() -> None:
    seen = world.scan(world.World(last=2), INK, DIGITS, seed=1)
    np.testing.assert_array_equal(seen.pixels, INK[0])
