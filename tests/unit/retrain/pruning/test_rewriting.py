from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn.utils import rnn

from retrain.pruning import rewriting, views


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, generator=generator).requires_grad_()


def operations(tensor: torch.Tensor) -> Iterator[str]:
    """Yield the names of all operations that a tensor was made by."""
    nodes = [tensor.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            yield node.name()
            nodes += [following for following, _ in node.next_functions]


@pytest.fixture
def runs() -> list[torch.Tensor]:
    return [draw(3, 4) * place for place in range(1, 5)]


@pytest.mark.parametrize(
    ("pick", "place"),
    [
        (lambda stack: stack[-1], 3),
        (lambda stack: stack[0], 0),
        (lambda stack: stack.select(0, 2), 2),
        (lambda stack: stack[2:][0], 2),
        (lambda stack: stack.unbind(0)[1], 1),
        (lambda stack: list(stack)[1], 1),
        (lambda stack: stack[3:].squeeze(0), 3),
        (lambda stack: stack.contiguous()[3], 3),
        (lambda stack: stack.view(2, 2, 3, 4)[-1][0], 2),
    ],
)
def test_indexing_a_stack_gives_back_what_it_was_made_of(
    runs: list[torch.Tensor], pick: Callable[[torch.Tensor], torch.Tensor], place: int
) -> None:
    with rewriting.Rewriting():
        assert pick(rewriting.stacked(runs)) is runs[place]


@pytest.mark.parametrize(
    "read",
    [
        lambda stack: stack[-1, :, :2],
        lambda stack: stack[1:3, 0],
        lambda stack: stack.mean(dim=0),
        lambda stack: stack.transpose(0, 1).reshape(3, -1),
        lambda stack: stack.permute(1, 0, 2).flatten(1),
        lambda stack: stack.view(2, 2, 3, 4)[1, 0],
    ],
)
def test_what_is_read_of_a_stack_has_the_same_values(
    runs: list[torch.Tensor], read: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    expected = read(torch.stack(runs))
    with rewriting.Rewriting():
        assert torch.equal(read(rewriting.stacked(runs)), expected)


def test_a_turned_stack_is_laid_side_by_side(runs: list[torch.Tensor]) -> None:
    with rewriting.Rewriting():
        found = rewriting.stacked(runs).transpose(0, 1).reshape(3, -1)
    assert "CatBackward0" in operations(found)
    assert "StackBackward0" not in operations(found)


@pytest.mark.parametrize(
    "multiply",
    [
        lambda weights, steps: torch.bmm(weights.transpose(1, 2), steps),
        lambda weights, steps: weights.transpose(1, 2) @ steps,
        lambda weights, steps: torch.matmul(steps.transpose(1, 2), weights),
        lambda weights, steps: torch.einsum("bti,bth->bh", weights, steps),
        lambda weights, steps: torch.einsum("bth,bti->hb", steps, weights),
    ],
)
def test_a_weighted_sum_is_written_as_one(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    weights, steps = draw(2, 5, 1), draw(2, 5, 3)
    expected = multiply(weights, steps)
    with rewriting.Rewriting():
        found = multiply(weights, steps)
    assert torch.allclose(found, expected)
    assert "SumBackward1" in operations(found)
    assert "BmmBackward0" not in operations(found)


@pytest.mark.parametrize(
    "multiply",
    [
        lambda left, right: left @ right.transpose(1, 2),
        lambda left, right: torch.einsum("btd,bsd->bts", left, right),
        lambda left, right: torch.einsum("...td,...sd->...ts", left, right),
    ],
)
def test_a_product_that_mixes_channels_is_left_alone(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    with rewriting.Rewriting():
        assert "BmmBackward0" in operations(multiply(draw(2, 5, 3), draw(2, 4, 3)))


@pytest.mark.parametrize("first", [True, False])
def test_packed_rows_are_padded_by_looking_them_up(*, first: bool) -> None:
    packed = rnn.pack_sequence([draw(3, 4), draw(2, 4) * 2.0])
    expected, lengths = rnn.pad_packed_sequence(packed, batch_first=first, padding_value=7.0)
    with rewriting.Rewriting():
        found, counted = rnn.pad_packed_sequence(packed, batch_first=first, padding_value=7.0)
    assert torch.equal(found, expected)
    assert torch.equal(counted, lengths)
    assert "IndexSelectBackward0" in operations(found)


def test_rows_are_taken_by_index_so_that_they_are_not_taken_for_channels() -> None:
    rows = draw(5, 3)
    with rewriting.Rewriting():
        found = rows[1:4, :2]
    assert torch.equal(found, rows[1:4, :2])
    assert "IndexSelectBackward0" in operations(found)


@pytest.mark.parametrize(
    "part",
    [
        lambda values: torch.cat([values, values], dim=2),
        lambda values: values.chunk(2, dim=2)[1],
        lambda values: values.split(3, 2)[0],
    ],
)
def test_joins_and_splits_of_sequences_have_the_same_values(
    part: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    values = draw(2, 5, 6)
    with rewriting.Rewriting():
        assert torch.equal(part(values), part(values.detach()))


@pytest.mark.parametrize(
    "call",
    [
        lambda values: torch.cat(tensors=[values, values], dim=2),
        lambda values: torch.squeeze(input=values),
        lambda values: values.sum(dim=1).squeeze(axis=0),
        lambda values: torch.matmul(values, other=values.transpose(1, 2)),
    ],
)
def test_calls_with_other_names_for_their_arguments_are_left_alone(
    call: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    values = draw(2, 5, 6)
    with rewriting.Rewriting():
        assert torch.equal(call(values), call(values.detach()))


def test_views_are_noted_with_their_shapes() -> None:
    rewriter = rewriting.Rewriting()
    with rewriter:
        flat = draw(2, 3, 4).flatten(1)
    assert rewriter.views == {flat.grad_fn: ((2, 3, 4), (2, 12))}


def test_outside_the_block_nothing_is_replaced() -> None:
    with rewriting.Rewriting():
        pass
    weights, steps = draw(2, 1, 5), draw(2, 5, 3)
    assert "BmmBackward0" in operations(weights @ steps)


def test_of_rows_joined_side_by_side_it_is_noted_where_each_learned_part_lies() -> None:
    learned, raw = draw(3, 4), torch.ones(3, 2)
    with rewriting.Rewriting() as rewriter:
        joined = torch.cat([learned, raw, learned.flatten(1) * 2.0], dim=-1)
    # The raw numbers take two places between them.
    assert rewriter.joins == {joined.grad_fn: (views.Span(0, 4), views.Span(6, 4))}


def test_rows_joined_one_below_the_other_have_no_places() -> None:
    with rewriting.Rewriting() as rewriter:
        joined = torch.cat([draw(3, 4), draw(2, 4)])
    assert rewriter.joins == {joined.grad_fn: ()}
