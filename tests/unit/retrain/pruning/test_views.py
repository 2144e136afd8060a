from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from retrain.pruning import views


def test_the_columns_of_a_flattened_image_lie_in_runs() -> None:
    # Two channels of 2 x 2 pixels.
    assert views.places((5, 2, 2, 2), (5, 8), channels=2) == ((0, 1, 2, 3), (4, 5, 6, 7))


def test_the_columns_of_a_flattened_sequence_lie_apart() -> None:
    assert views.places((5, 3, 2), (5, 6), channels=2) == ((0, 2, 4), (1, 3, 5))


def test_a_signal_with_its_channels_first_is_told_by_their_number() -> None:
    assert views.places((5, 2, 3), (5, 6), channels=2) == ((0, 1, 2), (3, 4, 5))


def test_the_rows_of_an_image_s_columns_join_its_channels() -> None:
    # [rows, columns, channels, height]: columns become steps.
    assert views.places((5, 7, 2, 3), (5, 7, 6), channels=2) == ((0, 1, 2), (3, 4, 5))


def test_the_places_are_where_torch_puts_a_channel() -> None:
    marked = torch.zeros(1, 3, 4)
    marked[:, :, 2] = 1.0
    found = views.places((1, 3, 4), (1, 12), channels=4)
    assert found is not None
    assert marked.flatten(1).nonzero()[:, 1].tolist() == list(found[2])


@pytest.mark.parametrize(
    ("before", "after", "channels"),
    [
        ((2, 3, 4), (6, 4), 4),  # rows and steps are joined, not channels
        ((2, 4, 5, 5), (2, 4, 25), 4),  # only the pixels are joined
        ((2, 12), (2, 3, 4), 12),  # parted
        ((2, 3, 4), (24,), 4),  # the rows are joined too
        ((2, 3, 4), (2, 12), 7),  # no dimension has so many
        ((2, 3, 4), (4, 6), 4),  # the parts do not line up
    ],
)
def test_other_views_move_no_channels(
    before: tuple[int, ...], after: tuple[int, ...], channels: int
) -> None:
    assert views.places(before, after, channels) is None


class Index(NamedTuple):
    """As the graph has it."""

    idx: int
    root_idx: int


def test_channels_are_followed_to_their_places() -> None:
    follow = views.Follow(((0, 2), (1, 3)), back=False)
    assert follow([Index(1, 9)]) == [Index(1, 9), Index(3, 9)]


def test_places_are_followed_back_to_their_channel_once() -> None:
    follow = views.Follow(((0, 2), (1, 3)), back=True)
    assert follow([Index(1, 9), Index(3, 9), Index(0, 8)]) == [Index(1, 9), Index(0, 8)]
